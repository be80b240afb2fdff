"""Every route asks for a scope, or stands in the short list of those that are open."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts

from nearfeed_recommender.app.api import scopes_of
from nearfeed_standalone.admin import make_router

OPEN = {
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/v1/scopes",  # it tells callers who are known what their key is good for
}
# The page and its files: what they show is asked for with the reader's key.
OPEN_PREFIXES = ("/page/",)


def open_routes(app: FastAPI) -> list[str]:
    """The paths of routes that ask for no scope."""
    return [
        str(route.path_format)
        for route in iter_route_contexts(app.routes)
        if getattr(route, "dependant", None) is None or not scopes_of(route.dependant)
    ]


def forgotten(app: FastAPI) -> list[str]:
    return [path for path in open_routes(app) if path not in OPEN and not path.startswith(OPEN_PREFIXES)]


def test_no_route_is_open_that_should_not_be(world: Any) -> None:
    assert forgotten(world.client.app) == []


def test_a_route_that_is_forgotten_is_found(world: Any) -> None:
    router = APIRouter(prefix="/v1")
    router.get("/secrets")(lambda: "told")
    world.client.app.include_router(router)
    assert forgotten(world.client.app) == ["/v1/secrets"]


def test_each_route_refuses_a_call_without_a_key(world: Any) -> None:
    world.settings.api_keys = {"a key": ["feed"]}
    for route in iter_route_contexts(world.client.app.routes):
        dependant = getattr(route, "dependant", None)
        for method in route.methods or () if dependant and scopes_of(dependant) else ():
            assert world.client.request(method, str(route.path_format)).status_code == 401, route.path


def test_commands_to_a_folder_have_a_token_of_their_own() -> None:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(make_router({}, "a token"))
    assert open_routes(app) == ["/v1/admin/operations/{name}"]


def test_the_description_says_which_scope_each_call_needs(world: Any) -> None:
    described = world.client.get("/openapi.json").json()
    kinds = described["components"]["securitySchemes"]
    assert {name: kind["type"] for name, kind in kinds.items()} == {
        "HTTPBearer": "http",
        "APIKeyHeader": "apiKey",
    }
    paths = described["paths"]
    for path, method, scope in (
        ("/v1/feed", "get", "feed"),
        ("/v1/events", "post", "events"),
        ("/v1/items/{item_id}", "put", "items"),
        ("/v1/items/{item_id}", "get", "feed"),
        ("/v1/admin/keys", "post", "admin"),
        ("/graphql", "post", "feed"),
    ):
        assert paths[path][method]["security"] == [{"HTTPBearer": [scope]}, {"APIKeyHeader": [scope]}]
    assert not paths["/healthz"]["get"].get("security")
