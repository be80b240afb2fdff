"""The description of the API says which scope each call needs."""

from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from nearfeed_recommender.http.access import BEARER, KEY_HEADER, Requirement, caller_of

_SCHEMES = {scheme.scheme_name: scheme.model for scheme in (BEARER, KEY_HEADER)}


def scopes_of(dependant: Dependant) -> set[str]:
    """The scopes that a route asks for, itself or by what it depends on."""
    own = {dependant.call.scope} if isinstance(dependant.call, Requirement) else set()
    return own.union(*map(scopes_of, dependant.dependencies))


def tell_scopes(app: FastAPI) -> None:
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
