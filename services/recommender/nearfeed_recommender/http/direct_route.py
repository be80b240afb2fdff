"""Routes that read a request without FastAPI's dependency solver."""

import inspect
from collections.abc import Awaitable, Callable, Iterator
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError, create_model
from starlette.routing import request_response
from starlette.types import Message, Receive, Scope, Send

Dependency = Callable[[Request], Awaitable[Any]]


class DirectRoute(APIRoute):
    """An APIRoute for frequent calls. It is declared and described as any other, and reads faster.

    FastAPI walks the declaration of a route at each request, which takes a feed's call 120 µs. Here it is
    compiled once, into the dependencies in their order and one pydantic model each for path and query and for
    the body. What is not valid goes on to FastAPI, which says why. Use it as the `route_class` of a router.

    The endpoint is a coroutine function that returns a Response. Its parameters are path and query
    parameters, one JSON body, the request, or dependencies; a dependency is a coroutine function of the
    request alone. Dependencies are declared on the router or the route; those of `include_router` are called
    only for a request that is not valid. Raises TypeError for a declaration of another kind.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._endpoint = _checked(endpoint, self.dependant)
        self._dependencies = list(_dependencies(self.dependant))
        self._parameters = _Parameters(endpoint, self.dependant)
        self._body = _Body(endpoint, self.dependant) if self.dependant.body_params else None
        self._direct = request_response(self._answer)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in (self.methods or ()):
            try:
                await self._direct(scope, receive, send)
            except _NotValidError as error:
                await super().handle(scope, _once_more(error.body, receive), send)
        else:
            await super().handle(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        given = await _json_of(request) if self._body else None
        values: dict[str, Any] = {}
        for name, call in self._dependencies:
            value = await call(request)
            if name is not None:
                values[name] = value
        if self.dependant.request_param_name:
            values[self.dependant.request_param_name] = request
        try:
            values |= self._parameters.read(request)
            if self._body:
                values[self._body.name] = self._body.validate(given)
        except ValidationError:
            raise _NotValidError(await request.body()) from None
        return await self._endpoint(**values)


class _NotValidError(Exception):
    """A request that FastAPI shall refuse; `body` is what was read of it."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.body = body


async def _json_of(request: Request) -> Any:
    """The body. Raises _NotValidError where it is not said to be JSON, or is not."""
    body = await request.body()
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise _NotValidError(body)
    try:
        return await request.json()
    except (ValueError, RecursionError):
        raise _NotValidError(body) from None


def _once_more(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read, then what comes after it."""
    left = [body]

    async def receive_again() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return receive_again


class _Body:
    """The body of an endpoint, validated by its annotation."""

    def __init__(self, endpoint: Callable[..., Any], dependant: Dependant) -> None:
        (self.name,) = (field.name for field in dependant.body_params)
        hint = get_type_hints(endpoint, include_extras=True)[self.name]
        self.validate: Callable[[Any], Any] = TypeAdapter(hint).validator.validate_python


class _Parameters:
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
        self._lists = [field.alias for field in dependant.query_params if _is_list(hints[field.name])]

    def read(self, request: Request) -> dict[str, Any]:
        """The values by name. Raises ValidationError."""
        query = request.query_params
        given: dict[str, Any] = {**query, **request.path_params}
        for name in self._lists:
            if name in given:
                given[name] = query.getlist(name)
        return dict(vars(self._validate(given)))


def _checked(endpoint: Callable[..., Any], dependant: Dependant) -> Callable[..., Awaitable[Response]]:
    if not inspect.iscoroutinefunction(endpoint) or _needs_the_solver(dependant):
        raise TypeError(f"{endpoint.__qualname__} needs an APIRoute: see DirectRoute")
    return endpoint


def _needs_the_solver(dependant: Dependant) -> bool:
    return bool(
        dependant.header_params
        or dependant.cookie_params
        or len(dependant.body_params) > 1
        or dependant.background_tasks_param_name
        or dependant.response_param_name
    )


def _dependencies(dependant: Dependant) -> Iterator[tuple[str | None, Dependency]]:
    """The dependencies of a route in their order, with the name of the parameter that takes the value."""
    for dependency in dependant.dependencies:
        others = (
            dependency.dependencies
            or dependency.path_params
            or dependency.query_params
            or dependency.body_params
        )
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
