"""Health for orchestrators, metrics for Prometheus."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from nearfeed_contracts.topics import INTERACTIONS
from nearfeed_recommender.admission.work_pool import WorkPool
from nearfeed_recommender.catalog.spaces import active_space_of
from nearfeed_recommender.http.access import Context
from nearfeed_recommender.http.context import ApiContext
from nearfeed_runtime.sql import read_connection

logger = structlog.get_logger(__name__)
router = APIRouter(tags=["health"])
T = TypeVar("T")
_SECONDS = 4.0


@router.get("/healthz", summary="Liveness")
async def healthz(request: Request) -> dict[str, str]:
    return {"status": "ok", "version": request.app.version}


@router.get("/readyz", summary="Readiness")
async def readyz(request: Request, context: Context) -> JSONResponse:
    """503 where SQL does not answer.

    Without the vector store the feed is degraded, and without the log events are refused: an instance
    that was taken away for either would take the rest with it, so they are told and do not decide.
    """
    return await _in_time(request, lambda: _readiness(context))


@router.get("/metrics", summary="Prometheus metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    return Response(await _in_time(request, request.app.state.exposition), media_type=CONTENT_TYPE_LATEST)


async def _in_time(request: Request, work: Callable[[], T]) -> T:
    """What the work returns, from threads that no other calls have. Raises PoolError (503) after seconds."""
    pool: WorkPool = request.app.state.health
    end_by = time.monotonic() + _SECONDS
    return await pool.run(work, end_by, end_by, lambda: False)


def _readiness(context: ApiContext) -> JSONResponse:
    checks = checks_of(context)
    ready = checks["database"]
    body = {"ready": ready, "space": _space(context) if ready else None, "checks": checks}
    return JSONResponse(body, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)


def checks_of(context: ApiContext) -> dict[str, bool]:
    """Which back ends answer."""
    return {
        "database": _answers(lambda: _space(context)),
        "log": _answers(lambda: context.log.end_offsets(INTERACTIONS.name)),
        "vectors": _answers(context.store.spaces),
    }


def _space(context: ApiContext) -> str | None:
    with read_connection(context.engine) as connection:
        return active_space_of(connection)


def _answers(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except Exception as error:
        logger.warning("not ready", error=str(error))
        return False
    return True
