"""Workers that share a listener: one that is killed comes back, and a signal ends all."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from nearfeed_recommender.app.server import check_workers
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.settings import SettingsError
from nearfeed_standalone.serve import listening

PATIENCE_SECONDS = 60
WORKER = """
import os, socket, sys
import uvicorn
from prometheus_client import Counter
from nearfeed_runtime.metrics import exposition
from nearfeed_runtime.supervising import end_with

end_with(int(sys.argv[2]))
ASKED = Counter("asked", "Requests for the number of the process.")

async def app(scope, receive, send):
    if scope["path"] == "/metrics":
        body = exposition()
    else:
        ASKED.inc()
        body = str(os.getpid()).encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

config = uvicorn.Config(app, log_config=None, lifespan="off")
uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""
SUPERVISOR = """
import socket, sys
from nearfeed_recommender.app.workers import WorkerError, supervise_workers

listener = socket.create_server(("127.0.0.1", 0))
listener.set_inheritable(True)
print(listener.getsockname()[1], flush=True)
try:
    supervise_workers(listener, [sys.executable, sys.argv[1]], 2)
except WorkerError as error:
    sys.exit(str(error))
"""


@dataclass
class Api:
    """A supervisor with two workers of a small app."""

    process: "subprocess.Popen[str]"
    port: int

    def get(self, path: str) -> str:
        return urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30).read().decode()

    def ask(self) -> int | None:
        """The process that answers; None where it ended before it did."""
        try:
            return int(self.get("/"))
        except (urllib.error.URLError, ConnectionError):
            return None

    def workers(self, without: int = 0) -> set[int]:
        """The processes that answer, once there are two beside one."""
        found: set[int] = set()
        until(lambda: len(found.update({self.ask()} - {None, without}) or found) == 2)  # type: ignore[arg-type]
        return found


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Api]]:
    started: list[subprocess.Popen[str]] = []

    def run(worker: str) -> Api:
        script = tmp_path / "worker.py"
        script.write_text(worker)
        command = [sys.executable, "-c", SUPERVISOR, str(script)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return Api(process, int(process.stdout.readline()))

    yield run
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)


def test_a_killed_worker_is_replaced_while_the_other_answers(start: Callable[[str], Api]) -> None:
    api = start(WORKER)
    first = api.workers()
    killed, other = sorted(first)
    os.kill(killed, signal.SIGKILL)
    now = api.workers(without=killed)
    assert other in now
    assert killed not in now


def test_a_signal_ends_all(start: Callable[[str], Api]) -> None:
    api = start(WORKER)
    workers = api.workers()
    api.process.send_signal(signal.SIGTERM)
    assert api.process.wait(PATIENCE_SECONDS) == 0
    assert not any(map(is_alive, workers))
    with (
        pytest.raises(ConnectionRefusedError),
        closing(socket.create_connection(("127.0.0.1", api.port), timeout=5)),
    ):
        pass


def test_workers_end_with_a_supervisor_that_is_killed(start: Callable[[str], Api]) -> None:
    api = start(WORKER)
    workers = api.workers()
    api.process.kill()
    until(lambda: not any(map(is_alive, workers)))


def test_metrics_of_all_workers_are_added_up_and_outlive_them(start: Callable[[str], Api]) -> None:
    api = start(WORKER)
    killed, _ = sorted(api.workers())
    before = asked(api)
    os.kill(killed, signal.SIGKILL)
    until(lambda: not is_alive(killed))
    answered = sum(api.ask() is not None for _ in range(20))
    assert asked(api) == before + answered


def asked(api: Api) -> int:
    found = re.search(r"^asked_total (\d+)", api.get("/metrics"), re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_a_wrong_setting_ends_the_supervisor(start: Callable[[str], Api]) -> None:
    api = start("import sys; sys.exit(2)")
    _, errors = api.process.communicate(timeout=PATIENCE_SECONDS)
    assert api.process.returncode == 1
    assert "cannot start" in errors


def test_several_workers_on_an_embedded_back_end_are_refused(tmp_path: Path) -> None:
    check_workers(RecommenderSettings(data_dir=tmp_path))
    settings = RecommenderSettings(
        data_dir=tmp_path,
        api_workers=2,
        database_url="mysql+mysqlconnector://u:p@h/n",
        log_url="kafka://h:9092",
        vectors_url="milvus://h:19530",
    )
    check_workers(settings)
    with pytest.raises(SettingsError, match="NEARFEED_API_WORKERS: NEARFEED_LOG_URL names an embedded"):
        check_workers(settings.model_copy(update={"log_url": f"embedded://{tmp_path}/log.db"}))


def test_all_services_in_one_process_have_one_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFEED_API_WORKERS", "2")
    with pytest.raises(SettingsError, match="NEARFEED_API_WORKERS"):
        listening(tmp_path, None, 0)
