"""The description of the API says which scope each call needs."""

from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from nearfeed_recommender.api.access import Requirement


def scopes_of(dependant: Dependant) -> set[str]:
    """The scopes that a route asks for, itself or by what it depends on."""
    own = {dependant.call.scope} if isinstance(dependant.call, Requirement) else set()
    return own.union(*map(scopes_of, dependant.dependencies))


def tell_scopes(app: FastAPI) -> None:
    """Names the scopes where OpenAPI 3.1 has a place for what a key must be good for."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _add_scopes(app, described())
        return described()

    app.openapi = openapi  # type: ignore[method-assign]


def _add_scopes(app: FastAPI, schema: dict[str, Any]) -> None:
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        operations = schema["paths"].get(getattr(route, "path_format", None), {})
        if dependant is None:
            continue
        scopes = sorted(scopes_of(dependant))
        for operation in [
            operations[name] for name in map(str.lower, route.methods or ()) if name in operations
        ]:
            schemes = [name for scheme in operation.get("security", ()) for name in scheme]
            operation["security"] = [{name: scopes} for name in schemes]
