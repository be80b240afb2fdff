"""Commands to the process that holds the folder: who may give them, and what comes back."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from nearfeed_contracts.errors import ConflictError
from nearfeed_runtime.operations import Listed, Progress, Said, Step, step_from_json
from nearfeed_standalone.admin import make_router

TOKEN = "right"
STEPS = [Progress("Loading", 1, 2), Progress("Loading", 2), Said("done"), Listed(("a",), (("1",), ("2",)))]


def _steps(count: int) -> Iterator[Step]:
    yield from STEPS[:count]


def _refused() -> Iterator[Step]:
    yield STEPS[0]
    raise ConflictError("The space is active; activate another first.")


def _broken() -> Iterator[Step]:
    yield STEPS[0]
    raise ZeroDivisionError("secret detail")


OPERATIONS: dict[str, Any] = {"steps": _steps, "refused": _refused, "broken": _broken}


def client(host: str = "127.0.0.1") -> TestClient:
    app = FastAPI()
    app.include_router(make_router(OPERATIONS, TOKEN))
    return TestClient(app, client=(host, 50_000))


def call(name: str, arguments: Any = None, *, token: str | None = TOKEN, host: str = "127.0.0.1") -> Any:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return client(host).post(f"/v1/admin/operations/{name}", json=arguments or {}, headers=headers)


def lines(answer: Any) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in answer.text.splitlines()]


def test_steps_come_back_as_they_were() -> None:
    answer = call("steps", {"count": 4})
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert [step_from_json(line) for line in lines(answer)] == STEPS


@pytest.mark.parametrize("token", [None, "", "wrong", "righ", "rightt"])
def test_without_the_token_nothing_is_done(token: str | None) -> None:
    answer = call("steps", {"count": 1}, token=token)
    assert answer.status_code == 401
    assert "step" not in answer.text


@pytest.mark.parametrize("host", ["10.0.0.7", "192.168.1.2", "::2", "somewhere"])
def test_from_another_machine_the_token_does_not_help(host: str) -> None:
    assert call("steps", {"count": 1}, host=host).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1"])
def test_any_loopback_address_may(host: str) -> None:
    assert call("steps", {"count": 1}, host=host).status_code == 200


def test_an_unknown_operation() -> None:
    assert call("none").status_code == 404


@pytest.mark.parametrize("arguments", [{}, {"count": 1, "more": 2}])
def test_wrong_arguments(arguments: dict[str, int]) -> None:
    assert call("steps", arguments).status_code == 422


def test_a_refusal_is_the_last_line() -> None:
    found = lines(call("refused"))
    assert found[0]["step"] == "progress"
    assert found[1:] == [{"step": "error", "text": "The space is active; activate another first."}]


def test_an_unexpected_error_tells_no_detail() -> None:
    answer = call("broken")
    assert lines(answer)[-1]["step"] == "error"
    assert "secret" not in answer.text


def test_admin_routes_stand_in_no_documentation() -> None:
    assert client().get("/openapi.json").json()["paths"] == {}
