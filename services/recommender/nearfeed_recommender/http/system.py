"""GET /v1/admin/system: how the installation does, in one answer."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from nearfeed_contracts.errors import BackendUnavailableError
from nearfeed_recommender.http.access import Context, require
from nearfeed_recommender.http.health import checks_of
from nearfeed_recommender.http.spaces import SpaceOut, get_spaces
from nearfeed_recommender.infra.lags import topic_lags
from nearfeed_recommender.infra.recent_calls import Calls, RecentCalls
from nearfeed_runtime.sql import read_connection

router = APIRouter(prefix="/v1/admin", tags=["admin"], dependencies=[Depends(require("admin"))])


class LagOut(BaseModel):
    """A consumer group and how many messages it has before it."""

    group: str
    behind: int


class TopicLagOut(BaseModel):
    """A topic with its messages so far and the groups that read it."""

    topic: str
    end: int
    groups: list[LagOut]


class CallsOut(BaseModel):
    """Calls, those that failed (5xx), and quantiles of their time, some 15 % exact."""

    calls: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class MinuteOut(CallsOut):
    """A minute by its start."""

    at: datetime


class RouteOut(CallsOut):
    """A route in the last hour."""

    method: str
    route: str


class SystemOut(BaseModel):
    """`topics` is null where the log does not answer. The last hour is that of this process alone."""

    version: str
    at: datetime
    config_version: int
    checks: dict[str, bool]
    topics: list[TopicLagOut] | None
    spaces: list[SpaceOut]
    minutes: list[MinuteOut]
    routes: list[RouteOut]


def recent_of(request: Request) -> RecentCalls:
    return cast(RecentCalls, request.app.state.recent)


@router.get("/system", summary="Status of the installation")
def get_system(context: Context, recent: Annotated[RecentCalls, Depends(recent_of)]) -> SystemOut:
    hour = recent.hour()
    return SystemOut(
        version=version("nearfeed"),
        at=datetime.now(UTC),
        config_version=context.configuration.live.current.version,
        checks=checks_of(context),
        topics=_topics(context),
        spaces=get_spaces(context).spaces,
        minutes=[
            MinuteOut(at=datetime.fromtimestamp(at, UTC), **_calls(calls)) for at, calls in hour.minutes
        ],
        routes=[
            RouteOut(method=method, route=route, **_calls(calls))
            for (method, route), calls in sorted(hour.routes.items(), key=lambda pair: -pair[1].calls)
        ],
    )


def _topics(context: Context) -> list[TopicLagOut] | None:
    try:
        with read_connection(context.engine) as connection:
            lags = topic_lags(connection, context.log)
    except BackendUnavailableError:
        return None
    return [
        TopicLagOut(
            topic=lag.topic,
            end=lag.end,
            groups=[LagOut(group=group, behind=behind) for group, behind in lag.groups.items()],
        )
        for lag in lags
    ]


def _calls(calls: Calls) -> dict[str, float | None]:
    times = {f"p{name}_ms": _milliseconds(getattr(calls, f"p{name}")) for name in (50, 95, 99)}
    return {"calls": calls.calls, "failed": calls.failed, **times}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(1_000 * seconds, 2)
