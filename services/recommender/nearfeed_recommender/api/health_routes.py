"""Health for orchestrators, metrics for Prometheus."""

from collections.abc import Callable
from http import HTTPStatus

import structlog
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from nearfeed_contracts.topics import INTERACTIONS
from nearfeed_recommender.api.access import Context
from nearfeed_recommender.context import ApiContext
from nearfeed_recommender.providers.request import active_space_of
from nearfeed_runtime.sql import reading

logger = structlog.get_logger(__name__)
router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Is the process alive?")
def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz", summary="Can it answer?")
def readyz(context: Context) -> JSONResponse:
    """503 where SQL does not answer.

    Without the vector store the feed is degraded, and without the log events are refused: an instance
    that was taken away for either would take the rest with it, so they are told and do not decide.
    """

    checks = checks_of(context)
    ready = checks["database"]
    body = {"ready": ready, "space": _space(context) if ready else None, "checks": checks}
    return JSONResponse(body, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)


@router.get("/metrics", summary="Prometheus metrics", include_in_schema=False)
def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def checks_of(context: ApiContext) -> dict[str, bool]:
    """Which back ends answer."""
    return {
        "database": _answers(lambda: _space(context)),
        "log": _answers(lambda: context.log.end_offsets(INTERACTIONS.name)),
        "vectors": _answers(context.store.spaces),
    }


def _space(context: ApiContext) -> str | None:
    with reading(context.engine) as connection:
        return active_space_of(connection)


def _answers(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except Exception as error:
        logger.warning("not ready", error=str(error))
        return False
    return True
