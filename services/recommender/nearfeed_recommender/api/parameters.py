"""Query parameters that nobody knows."""

from http import HTTPStatus

from fastapi import Request
from fastapi.dependencies.models import Dependant

from nearfeed_recommender.api.problems import FieldError, FieldFault


async def refuse_unknown_parameters(request: Request) -> None:
    """Raises FieldError: a filter that is misspelt would be a feed without it."""
    known = sorted(_names(request.scope["route"].dependant))
    told = f"is no parameter here; those that are: {', '.join(known)}" if known else "is no parameter here"
    unknown = sorted(set(request.query_params) - set(known))
    if unknown:
        faults = [FieldFault(field=name, message=told) for name in unknown]
        raise FieldError(HTTPStatus.UNPROCESSABLE_ENTITY, faults)


def _names(dependant: Dependant) -> set[str]:
    """The query parameters of a route and of all that it depends on."""
    return {field.alias for field in dependant.query_params}.union(*map(_names, dependant.dependencies))
