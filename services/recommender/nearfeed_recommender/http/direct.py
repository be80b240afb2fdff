"""Routes that read a request without FastAPI's dependency solver."""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError, create_model
from starlette.routing import request_response
from starlette.types import Receive, Scope, Send

Dependency = Callable[[Request], Awaitable[Any]]


class DirectRoute(APIRoute):
    """An APIRoute for frequent calls. It is declared and described as any other, and reads faster.

    FastAPI walks the declaration of a route at each request, which takes a feed's call 120 µs. Here it is
    compiled once, into the dependencies in their order and one pydantic model for path and query. Use it as
    the `route_class` of a router.

    The endpoint is a coroutine function that returns a Response. Its parameters are path and query
    parameters, the request, or dependencies; a dependency is a coroutine function of the request alone.
    Dependencies are declared on the router or the route; those of `include_router` are not called. Raises
    TypeError for a declaration of another kind.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._endpoint = _checked(endpoint, self.dependant)
        self._dependencies = list(_dependencies(self.dependant))
        self._parameters = Parameters(endpoint, self.dependant)
        self._direct = request_response(self._answer)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in (self.methods or ()):
            await self._direct(scope, receive, send)
        else:
            await super().handle(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        values: dict[str, Any] = {}
        for name, call in self._dependencies:
            value = await call(request)
            if name is not None:
                values[name] = value
        if self.dependant.request_param_name:
            values[self.dependant.request_param_name] = request
        return await self._endpoint(**values, **self._parameters.read(request))


class Parameters:
    """The path and query parameters of an endpoint, validated by one model."""

    def __init__(self, endpoint: Callable[..., Any], dependant: Dependant) -> None:
        hints = get_type_hints(endpoint, include_extras=True)
        defaults = {name: given.default for name, given in inspect.signature(endpoint).parameters.items()}
        fields = [*dependant.path_params, *dependant.query_params]
        declared = {
            field.name: (
                hints[field.name],
                ... if defaults[field.name] is inspect.Parameter.empty else defaults[field.name],
            )
            for field in fields
        }
        model = create_model(f"{dependant.path}Parameters", **cast(Any, declared))
        self._validate = model.__pydantic_validator__.validate_python
        self._in_path = {field.alias for field in dependant.path_params}
        self._lists = [field.alias for field in dependant.query_params if _is_list(hints[field.name])]

    def read(self, request: Request) -> dict[str, Any]:
        """The values by name. Raises RequestValidationError with the place of each fault."""
        query = request.query_params
        given: dict[str, Any] = {**query, **request.path_params}
        for name in self._lists:
            if name in given:
                given[name] = query.getlist(name)
        try:
            return dict(vars(self._validate(given)))
        except ValidationError as error:
            faults = [self._placed(fault) for fault in error.errors(include_url=False)]
            raise RequestValidationError(faults) from None

    def _placed(self, fault: Mapping[str, Any]) -> dict[str, Any]:
        place = "path" if fault["loc"][0] in self._in_path else "query"
        return {**fault, "loc": (place, *fault["loc"])}


def _checked(endpoint: Callable[..., Any], dependant: Dependant) -> Callable[..., Awaitable[Response]]:
    if not inspect.iscoroutinefunction(endpoint) or _needs_the_solver(dependant):
        raise TypeError(f"{endpoint.__qualname__} needs an APIRoute: see DirectRoute")
    return endpoint


def _needs_the_solver(dependant: Dependant) -> bool:
    return bool(
        dependant.header_params
        or dependant.cookie_params
        or dependant.body_params
        or dependant.background_tasks_param_name
        or dependant.response_param_name
    )


def _dependencies(dependant: Dependant) -> Iterator[tuple[str | None, Dependency]]:
    """The dependencies of a route in their order, with the name of the parameter that takes the value."""
    for dependency in dependant.dependencies:
        others = dependency.dependencies or dependency.path_params or dependency.query_params
        if others or _needs_the_solver(dependency) or dependency.request_param_name is None:
            raise TypeError(f"{dependency.call} must take the request alone: see DirectRoute")
        yield dependency.name, cast(Dependency, dependency.call)


def _is_list(annotation: Any) -> bool:
    """Whether a parameter may be repeated: a list, or a union with one."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return any(map(_is_list, get_args(annotation)))
    if hasattr(annotation, "__metadata__"):
        return _is_list(get_args(annotation)[0])
    return origin is list or annotation is list
