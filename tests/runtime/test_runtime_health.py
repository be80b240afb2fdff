import json
import socket
import threading
import urllib.error
import urllib.request
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import pytest

from nearfeed_backends.opening import open_database
from nearfeed_runtime.health import HealthPortError, answer, database_answers, health_listener
from nearfeed_runtime.process import Loop, LoopEndedError, run_until_signal


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def fail() -> None:
    raise ConnectionError("the database is away")


def test_a_process_is_ready_while_every_check_passes(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/n.db")
    port = free_port()
    with health_listener(port, {"database": lambda: database_answers(engine)}):
        assert get(port, "/healthz")[0] == HTTPStatus.OK
        assert get(port, "/readyz") == (200, '{"ready":true,"checks":{"database":true}}')
        assert "process_cpu_seconds_total" in get(port, "/metrics?name=x")[1]
        assert get(port, "/elsewhere")[0] == HTTPStatus.NOT_FOUND
    engine.dispose()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1)


def test_one_failing_check_makes_it_unready_and_is_named() -> None:
    status, _, body = answer("/readyz", {"database": fail, "loops": lambda: None})
    assert status == HTTPStatus.SERVICE_UNAVAILABLE
    assert json.loads(body) == {"ready": False, "checks": {"database": False, "loops": True}}
    assert answer("/healthz", {"database": fail})[0] == HTTPStatus.OK


def test_a_port_in_use_is_told_by_its_setting() -> None:
    with (
        closing(socket.create_server(("", 0))) as taken,
        pytest.raises(HealthPortError, match="NEARFEED_HEALTH_PORT: cannot listen"),
        health_listener(taken.getsockname()[1], {}),
    ):
        pass


def test_port_0_listens_nowhere() -> None:
    before = threading.active_count()
    with health_listener(0, {"never": fail}):
        assert threading.active_count() == before


def test_a_process_whose_loop_ended_ends_too_and_stops_the_others() -> None:
    others = threading.Event()

    def other(stop: threading.Event) -> None:
        stop.wait()
        others.set()

    with pytest.raises(LoopEndedError, match="broken"):
        run_until_signal([Loop("broken", lambda stop: fail()), Loop("other", other)])
    assert others.is_set()
