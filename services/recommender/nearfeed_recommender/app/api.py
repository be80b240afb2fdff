"""The API as a FastAPI application, and its OpenAPI document."""

from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from nearfeed_recommender.admission.appends import Appends
from nearfeed_recommender.admission.control import Admissions, open_admissions
from nearfeed_recommender.admission.door import Counted
from nearfeed_recommender.admission.work_pool import WorkPool
from nearfeed_recommender.graphql import routes as graphql_routes
from nearfeed_recommender.graphql.sources import GraphSources
from nearfeed_recommender.http import admin_users as admin_reader_routes
from nearfeed_recommender.http import anonymous as anonymous_routes
from nearfeed_recommender.http import audit as audit_routes
from nearfeed_recommender.http import browse as browse_routes
from nearfeed_recommender.http import config as config_routes
from nearfeed_recommender.http import config_entries as config_entry_routes
from nearfeed_recommender.http import events as event_routes
from nearfeed_recommender.http import experiments as experiment_routes
from nearfeed_recommender.http import exposure_log as ledger_routes
from nearfeed_recommender.http import feed as feed_routes
from nearfeed_recommender.http import health as health_routes
from nearfeed_recommender.http import items as item_routes
from nearfeed_recommender.http import keys as key_routes
from nearfeed_recommender.http import pages as page_routes
from nearfeed_recommender.http import spaces as space_routes
from nearfeed_recommender.http import system as system_routes
from nearfeed_recommender.http import user_data as reader_data_routes
from nearfeed_recommender.http import users as reader_routes
from nearfeed_recommender.http.access import BEARER, KEY_HEADER, Requirement, caller_of
from nearfeed_recommender.http.context import ApiContext
from nearfeed_recommender.http.middleware import Bounded, Observed
from nearfeed_recommender.http.parameters import refuse_unknown_parameters
from nearfeed_recommender.http.problems import Problem, install_problem_handlers
from nearfeed_recommender.infra.recent_calls import RecentCalls
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.metrics import exposition
from nearfeed_ui import api_docs
from nearfeed_ui import routes as static_routes

_SCHEMES = {scheme.scheme_name: scheme.model for scheme in (BEARER, KEY_HEADER)}


def scopes_of(dependant: Dependant) -> set[str]:
    """The scopes that a route asks for, itself or by what it depends on."""
    own = {dependant.call.scope} if isinstance(dependant.call, Requirement) else set()
    return own.union(*map(scopes_of, dependant.dependencies))


def describe_scopes(app: FastAPI) -> None:
    """Describes how callers are identified, and names the scopes of each operation (OpenAPI 3.1)."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _add_scopes(app, described())
        return described()

    app.openapi = openapi  # type: ignore[method-assign]


def _add_scopes(app: FastAPI, schema: dict[str, Any]) -> None:
    schema["components"]["securitySchemes"] = {
        name: model.model_dump(mode="json", by_alias=True, exclude_none=True)
        for name, model in _SCHEMES.items()
    }
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        operations = schema["paths"].get(getattr(route, "path_format", None), {})
        if dependant is None or not _identifies(dependant):
            continue
        scopes = sorted(scopes_of(dependant))
        for name in map(str.lower, route.methods or ()):
            if name in operations:
                operations[name]["security"] = [{scheme: scopes} for scheme in _SCHEMES]


def _identifies(dependant: Dependant) -> bool:
    """Whether a route asks who calls, itself or by what it depends on."""
    asks = dependant.call is caller_of or isinstance(dependant.call, Requirement)
    return asks or any(map(_identifies, dependant.dependencies))


_ALL_EMBEDDED = 3
_MOST_APPENDS = 272  # as many requests as write threads and their queue would hold
_HEALTH_THREADS = 2
_HEALTH_WAITING = 16
MAX_BODY_BYTES = 2 * 1024 * 1024
_PROBLEMS: dict[int | str, dict[str, object]] = {
    "4XX": {"model": Problem, "description": "A problem that names the field."},
    "503": {"model": Problem, "description": "A back end does not answer; Retry-After says when to ask."},
}

# A request is matched against all routes before its own, which costs it about 3 µs each.
_HOT = (feed_routes, page_routes, event_routes, item_routes)
_DATA = (reader_routes, anonymous_routes, browse_routes, graphql_routes)
_OPERATORS = (
    config_routes,
    config_entry_routes,
    experiment_routes,
    audit_routes,
    key_routes,
    ledger_routes,
    reader_data_routes,
    admin_reader_routes,
    space_routes,
    system_routes,
)


def create_app(context: ApiContext, graph: GraphSources) -> FastAPI:
    """The application around wired parts; `graph` is what GraphQL reads."""
    app = FastAPI(
        title="Nearfeed",
        version=version("nearfeed"),
        description="Personal feeds for community apps: one filtered similarity search per reader.",
        docs_url=None,
        redoc_url=None,
    )
    app.state.context = context
    app.state.graph = graph
    app.state.recent = RecentCalls()
    app.state.admissions = _admissions(context.settings)
    app.state.appends = Appends(context.log, _MOST_APPENDS)
    app.state.exposition = exposition
    app.state.health = WorkPool("health", _HEALTH_THREADS, _HEALTH_WAITING)
    known = Depends(refuse_unknown_parameters)
    for routes in (*_HOT, *_DATA, *_OPERATORS):
        app.include_router(routes.router, responses=_PROBLEMS, dependencies=[known])
    app.include_router(health_routes.router)
    app.include_router(static_routes.make_router())
    app.include_router(api_docs.make_router(app.title, str(app.openapi_url)))
    install_problem_handlers(app)
    describe_scopes(app)
    app.add_middleware(Bounded, most=MAX_BODY_BYTES)
    app.add_middleware(Observed, recent=app.state.recent)
    app.add_middleware(Counted)
    return app


def _admissions(settings: RecommenderSettings) -> Admissions:
    """Threads that compute share one core: two keep it busy, more are for those that wait for servers."""
    in_process = len(settings.embedded) == _ALL_EMBEDDED
    threads = settings.api_threads or (2 if in_process else 8)
    reads, writes = settings.feed_deadline_ms / 1_000, settings.write_deadline_ms / 1_000
    return open_admissions(threads, reads, writes, in_process=in_process)
