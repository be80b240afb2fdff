"""The API as a FastAPI application."""

from importlib.metadata import version

from fastapi import Depends, FastAPI

from nearfeed_recommender.api import (
    admin_reader_routes,
    anonymous_routes,
    audit_routes,
    browse_routes,
    config_entry_routes,
    config_routes,
    event_routes,
    experiment_routes,
    feed_routes,
    health_routes,
    item_routes,
    key_routes,
    ledger_routes,
    page_routes,
    reader_data_routes,
    reader_routes,
    space_routes,
    system_routes,
)
from nearfeed_recommender.api.middleware import Bounded, Observed
from nearfeed_recommender.api.openapi import tell_scopes
from nearfeed_recommender.api.parameters import refuse_unknown_parameters
from nearfeed_recommender.api.problems import Problem, install_problem_handlers
from nearfeed_recommender.context import ApiContext
from nearfeed_recommender.graphql import routes as graphql_routes
from nearfeed_recommender.page import api_docs
from nearfeed_recommender.page import routes as static_routes
from nearfeed_recommender.recent import RecentCalls

MAX_BODY_BYTES = 2 * 1024 * 1024
_PROBLEMS: dict[int | str, dict[str, object]] = {
    "4XX": {"model": Problem, "description": "A problem that names the field."},
    "503": {"model": Problem, "description": "A back end does not answer; Retry-After says when to ask."},
}


def create_app(context: ApiContext) -> FastAPI:
    """The application around wired parts."""
    app = FastAPI(
        title="Nearfeed",
        version=version("nearfeed"),
        description="Personal feeds for community apps: one filtered similarity search per reader.",
        docs_url=None,
        redoc_url=None,
    )
    app.state.context = context
    app.state.recent = RecentCalls()
    data = (
        feed_routes,
        page_routes,
        item_routes,
        event_routes,
        reader_routes,
        anonymous_routes,
        browse_routes,
        graphql_routes,
    )
    operators = (
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
    for routes in (*data, *operators):
        app.include_router(
            routes.router, responses=_PROBLEMS, dependencies=[Depends(refuse_unknown_parameters)]
        )
    app.include_router(health_routes.router)
    app.include_router(static_routes.make_router())
    app.include_router(api_docs.make_router(app.title, str(app.openapi_url)))
    install_problem_handlers(app)
    tell_scopes(app)
    app.add_middleware(Bounded, most=MAX_BODY_BYTES)
    app.add_middleware(Observed, recent=app.state.recent)
    return app
