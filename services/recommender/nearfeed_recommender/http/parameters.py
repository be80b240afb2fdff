"""Checks of parameters: unknown names, and times in the future."""

from collections.abc import Callable, Set
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant

from nearfeed_contracts.fields import now_micros
from nearfeed_recommender.http.context import ApiContext
from nearfeed_recommender.http.problems import FieldError, FieldFault


class KnownParameters:
    """A dependency that refuses query parameters which the route does not have.

    Raises FieldError (422): a filter that is misspelt would be a feed without it. The names of a route are
    collected at its first request.
    """

    def __init__(self) -> None:
        self._by_endpoint: dict[Callable[..., Any], Set[str]] = {}

    async def __call__(self, request: Request) -> None:
        given = request.query_params
        if not given:
            return
        route = request.scope["route"]
        known = self._by_endpoint.get(route.endpoint)
        if known is None:
            known = self._by_endpoint[route.endpoint] = _names(route.dependant)
        unknown = given.keys() - known
        if unknown:
            raise FieldError(HTTPStatus.UNPROCESSABLE_ENTITY, _faults(unknown, known))


def _names(dependant: Dependant) -> set[str]:
    """The query parameters of a route and of all that it depends on."""
    return {field.alias for field in dependant.query_params}.union(*map(_names, dependant.dependencies))


def _faults(unknown: Set[str], known: Set[str]) -> list[FieldFault]:
    message = "is no parameter here"
    if known:
        message += f"; those that are: {', '.join(sorted(known))}"
    return [FieldFault(field=name, message=message) for name in sorted(unknown)]


refuse_unknown_parameters = KnownParameters()


def require_not_ahead(context: ApiContext, field: str, moment: int) -> None:
    """Raises FieldError for a time further ahead than clocks may differ."""
    minutes = context.settings.clock_skew_minutes
    if moment > now_micros() + minutes * 60_000_000:
        message = f"lies more than {minutes:g} minutes ahead"
        raise FieldError(HTTPStatus.UNPROCESSABLE_ENTITY, [FieldFault(field=field, message=message)])
