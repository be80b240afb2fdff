"""The door, in front of a real server: who is refused, on what connection, and that it opens again."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

from nearfeed_recommender.admission.control import Admission, Admissions, Processor
from nearfeed_recommender.admission.door import Counted, door_protocol, guarded_calls
from nearfeed_recommender.admission.work_pool import WorkPool
from nearfeed_recommender.http.problems import install_problem_handlers
from nearfeed_recommender.infra.recent_calls import RecentCalls

LONG = 60.0
FEED = "/v1/feed?user_id=u"


class BusyProcessor(Processor):
    """One without time for cheap answers."""

    def is_busy(self) -> bool:
        return True


@dataclass
class Server:
    """A server with one thread for feeds and one place to wait; feeds end when `over` is set."""

    port: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    begun: list[str] = field(default_factory=list)
    recent: RecentCalls = field(default_factory=RecentCalls)
    admissions: Admissions = field(
        default_factory=lambda: Admissions(
            Admission(WorkPool("read", 1, 1), WorkPool("cheap", 1, 0), BusyProcessor(), LONG),
            Admission(WorkPool("write", 1, 1), WorkPool("cheap", 1, 0), BusyProcessor(), LONG),
        )
    )

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)

    def hang(self, work: str = "feed") -> str:
        self.begun.append(work)
        self.over.wait(LONG)
        return "a feed"


def app_of(server: Server) -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app)
    reads, writes = server.admissions.reads, server.admissions.writes

    @app.get("/v1/feed")
    async def feed(request: Request, user_id: str) -> Response:
        return Response(await reads.run(request, lambda _: server.hang(user_id)))

    @app.post("/v1/events")
    async def events(request: Request) -> Response:
        body = await request.body()
        return Response(str(await writes.run(request, lambda _: len(body))))

    app.get("/healthz")(lambda: "ok")
    app.add_middleware(Counted)
    return app


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        made.port = listener.getsockname()[1]
        protocol = door_protocol(guarded_calls(made.admissions), made.recent)
        config = uvicorn.Config(app_of(made), http=protocol, ws="none", log_config=None, lifespan="off")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield made
        finally:
            made.over.set()
            running.should_exit = True
            thread.join(LONG)


def until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    while not condition():
        pause.wait(0.002)


def filled(server: Server) -> list[http.client.HTTPConnection]:
    """Connections whose feeds take all places of the server."""
    connections = [server.connect(), server.connect()]
    for connection in connections:
        connection.request("GET", FEED)
    until(lambda: server.admissions.reads.is_full)
    return connections


def answered(connection: http.client.HTTPConnection, *request: Any, **more: Any) -> tuple[int, bytes]:
    connection.request(*request, **more)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_above_the_bound_a_feed_is_refused_and_the_connection_lives_on(server: Server) -> None:
    waiting = filled(server)
    with closing(server.connect()) as connection:
        connection.request("GET", FEED)
        refused = connection.getresponse()
        problem = json.loads(refused.read())
        local = connection.sock.getsockname()
        assert (refused.status, problem["status"]) == (503, 503)
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) >= 1
        assert len(refused.headers["x-request-id"]) == 32
        assert refused.headers["x-content-type-options"] == "nosniff"
        assert refused.headers["referrer-policy"] == "no-referrer"
        assert answered(connection, "GET", FEED)[0] == 503
        assert answered(connection, "GET", "/healthz") == (200, b'"ok"')
        server.over.set()
        assert [each.getresponse().status for each in waiting] == [200, 200]
        until(lambda: not server.admissions.reads.is_full)
        assert answered(connection, "GET", FEED) == (200, b"a feed")
        assert connection.sock.getsockname() == local
    failed = sum(calls.failed for _, calls in server.recent.hour().minutes)
    assert failed == 2


def test_feeds_that_wait_keep_no_event_away(server: Server) -> None:
    waiting = filled(server)
    with closing(server.connect()) as connection:
        assert answered(connection, "POST", "/v1/events", body=b"12345") == (200, b"5")
    server.over.set()
    assert [each.getresponse().status for each in waiting] == [200, 200]


def test_the_body_of_a_refused_request_is_dropped(server: Server) -> None:
    for _ in range(2):
        server.admissions.writes.enter()
    with closing(server.connect()) as connection:
        for _ in range(3):
            assert answered(connection, "POST", "/v1/events", body=b"x" * 300_000)[0] == 503
        for _ in range(2):
            server.admissions.writes.leave()
        assert answered(connection, "POST", "/v1/events", body=b"x" * 300_000) == (200, b"300000")


def test_a_connection_that_shall_close_is_closed(server: Server) -> None:
    filled(server)
    with closing(server.connect()) as connection:
        connection.request("GET", FEED, headers={"Connection": "close"})
        refused = connection.getresponse()
        assert (refused.status, refused.headers["connection"]) == (503, "close")
        refused.read()
    server.over.set()


def test_requests_sent_together_on_one_connection_have_an_answer_each(server: Server) -> None:
    server.over.set()
    with socket.create_connection(("127.0.0.1", server.port), timeout=LONG) as connection:
        one = f"GET {FEED} HTTP/1.1\r\nhost: x\r\n\r\n"
        last = f"GET {FEED} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        connection.sendall((one * 4 + last).encode())
        answers = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answers.count(b"HTTP/1.1 200") == answers.count(b"a feed") == 5
    until(lambda: not server.admissions.reads.is_full)


def test_a_body_that_waits_to_be_asked_for_is_not_refused_at_the_door(server: Server) -> None:
    for _ in range(2):
        server.admissions.writes.enter()
    with closing(server.connect()) as connection:
        status, _ = answered(
            connection, "POST", "/v1/events", body=b"12345", headers={"Expect": "100-continue"}
        )
        assert status == 200


def test_a_feed_that_waits_is_dropped_when_its_client_goes(server: Server) -> None:
    first = server.connect()
    first.request("GET", "/v1/feed?user_id=first")
    until(lambda: server.begun == ["first"])
    second = server.connect()
    second.request("GET", "/v1/feed?user_id=second")
    until(lambda: server.admissions.reads.is_full)
    second.close()
    with closing(server.connect()) as other:  # the server has read what came before it
        assert answered(other, "GET", "/healthz")[0] == 200
    server.over.set()
    assert first.getresponse().status == 200
    until(lambda: not server.admissions.reads.is_full)
    with closing(server.connect()) as third:
        assert answered(third, "GET", "/v1/feed?user_id=third")[0] == 200
    assert server.begun == ["first", "third"]


@pytest.mark.parametrize(
    "path", ["/v1/feed", "/v1/feed?user_id=u&limit=x", "/v1/feeds?user_id=u", "/v1/feed/x"]
)
def test_requests_that_are_answered_without_work_leave_too(server: Server, path: str) -> None:
    server.over.set()
    with closing(server.connect()) as connection:
        for _ in range(5):
            assert answered(connection, "GET", path)[0] in (200, 404, 422)
    until(lambda: server.admissions.reads._entered == 0)
