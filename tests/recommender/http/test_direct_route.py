"""A DirectRoute answers as an APIRoute of the same declaration does."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Header, HTTPException, Path, Query, Request, Response
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from pydantic import BaseModel

from nearfeed_contracts.fields import Id, IsoTime
from nearfeed_recommender.http.direct_route import DirectRoute
from nearfeed_recommender.http.parameters import refuse_unknown_parameters
from nearfeed_recommender.http.problems import install_problem_handlers


async def refuse_banned(request: Request) -> None:
    if request.headers.get("x-banned"):
        raise HTTPException(403, "You may not.")


async def name_of(request: Request) -> str:
    return request.headers.get("x-name", "nobody")


async def get_page(
    request: Request,
    name: Annotated[str, Depends(name_of)],
    page: Annotated[Id, Path(pattern="[^/]$")],
    user_id: Annotated[Id, Query(description="the user")],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    community_id: Annotated[list[Id] | None, Query(max_length=2)] = None,
    after: Annotated[IsoTime | None, Query(alias="published_after")] = None,
    explain: bool = False,
) -> Response:
    values = [request.url.path, name, page, user_id, limit, community_id, after, explain]
    return Response(repr(values))


def client_of(route_class: type[APIRoute]) -> TestClient:
    needed = [Depends(refuse_unknown_parameters), Depends(refuse_banned)]
    router = APIRouter(prefix="/v1", route_class=route_class, dependencies=needed)
    router.get("/pages/{page:path}")(get_page)
    app = FastAPI()
    app.include_router(router)
    install_problem_handlers(app)
    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("home?user_id=u", {}),
        ("home?user_id=u", {"x-name": "Ann"}),
        ("home?user_id=u", {"x-banned": "yes"}),
        ("a/b%20?user_id=u&limit=3&explain=true", {}),
        ("a/b%2Fc?user_id=%F0%9F%98%80&limit=3&limit=4", {}),
        ("home?user_id=u&community_id=a", {}),
        ("home?user_id=u&community_id=a&community_id=b", {}),
        ("home?user_id=u&community_id=a&community_id=b&community_id=c", {}),
        ("home?user_id=u&community_id=a&community_id=", {}),
        ("home?user_id=u&published_after=2026-01-01T00:00:00Z", {}),
        ("home?user_id=u&published_after=yesterday&limit=0", {}),
        ("home?user_id=u&page=other", {}),
        ("home?user_id=u&after=2026-01-01T00:00:00Z", {}),
        ("home?user_id=u&limit=", {}),
        ("home?user_id=u&limit=1.5&explain=maybe", {}),
        ("home?user_id=a%20b", {}),
        ("home?user=u", {}),
        ("home", {}),
        ("home/?user_id=u", {}),
    ],
)
def test_answers_are_those_of_fastapi(path: str, headers: dict[str, str]) -> None:
    answers = [
        client_of(route_class).get(f"/v1/pages/{path}", headers=headers)
        for route_class in (APIRoute, DirectRoute)
    ]
    assert answers[0].status_code == answers[1].status_code
    assert answers[0].content == answers[1].content
    assert answers[0].headers == answers[1].headers


def test_other_methods_and_the_description_are_those_of_fastapi() -> None:
    solved, direct = client_of(APIRoute), client_of(DirectRoute)
    assert solved.post("/v1/pages/home").text == direct.post("/v1/pages/home").text
    assert direct.post("/v1/pages/home").headers["allow"] == "GET"
    assert solved.get("/openapi.json").json() == direct.get("/openapi.json").json()


class Post(BaseModel):
    name: Id
    tags: list[str] = []


async def put_page(
    request: Request,
    name: Annotated[str, Depends(name_of)],
    page: Annotated[Id, Path()],
    post: Annotated[Post | list[Post], Body()],
    limit: Annotated[int, Query(ge=1)] = 20,
) -> Response:
    return Response(repr([request.url.path, name, page, post, limit]))


def client_of_put(route_class: type[APIRoute]) -> TestClient:
    router = APIRouter(route_class=route_class, dependencies=[Depends(refuse_banned)])
    router.put("/pages/{page}")(put_page)
    app = FastAPI()
    app.include_router(router)
    install_problem_handlers(app)
    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize("banned", [{}, {"x-banned": "yes"}])
@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "text/plain", ""])
@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", b'{"name": "ann", "tags": ["a"]}'),
        ("?limit=2", b'[{"name": "ann"}, {"name": "ben"}]'),
        ("?limit=0", b'{"name": "ann"}'),
        ("?limit=0", b'{"name": ""}'),
        ("", b'{"tags": "a"}'),
        ("", b'[{"name": "ann"}, {"tags": []}]'),
        ("", b'{"name": NaN}'),
        ("", b'{"name": "ann"'),
        ("", b'"ann"'),
        ("", b"null"),
        ("", b"\xff"),
        ("", b"[" * 100_000),
        ("", b""),
    ],
)
def test_answers_to_bodies_are_those_of_fastapi(
    query: str, body: bytes, kind: str, banned: dict[str, str]
) -> None:
    headers = banned | ({"content-type": kind} if kind else {})
    answers = [
        client_of_put(route_class).put(f"/pages/home{query}", content=body, headers=headers)
        for route_class in (APIRoute, DirectRoute)
    ]
    assert answers[0].status_code == answers[1].status_code
    assert answers[0].content == answers[1].content


async def with_bodies(post: Post, other: Post) -> Response: ...


async def with_header(x_name: Annotated[str, Header()]) -> Response: ...


async def with_parameter_below(name: Annotated[str, Depends(lambda limit: str(limit))]) -> Response: ...


async def initial_of(name: Annotated[str, Depends(name_of)]) -> str: ...


async def with_dependency_below(initial: Annotated[str, Depends(initial_of)]) -> Response: ...


def in_a_thread(limit: int = 1) -> Response: ...


@pytest.mark.parametrize(
    "endpoint", [with_bodies, with_header, with_parameter_below, with_dependency_below, in_a_thread]
)
def test_what_needs_the_solver_is_refused_when_the_route_is_made(endpoint: Any) -> None:
    router = APIRouter(route_class=DirectRoute)
    with pytest.raises(TypeError, match="DirectRoute"):
        router.get("/")(endpoint)
