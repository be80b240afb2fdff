"""What load generators write is read as answers by what they are."""

import base64
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from benchmarks.feed import load, open_loop
from benchmarks.feed.load import Load, MissingGeneratorError, Request

_GOOD = b'{"request_id":"a","degraded":false}'
_DEGRADED = b'{"request_id":"a","degraded":true}'


def test_the_last_line_of_wrk_is_its_result() -> None:
    counts = {"good": 7, "degraded": 2, "refused": 1, "failed": 0}
    result = {"seconds": 2.0, **counts, "p50": 1.5, "p95": 2.0, "p99": 3.0, "slowest": 4.0}
    output = f"Running 2s test\n  10 requests in 2.00s\n\nload {json.dumps(result)}\n"

    parsed = load.parsed(output)

    assert (parsed.rate, parsed.answers, parsed.share(parsed.degraded)) == (3.5, 10, 20.0)


def test_wrk_without_a_result_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="unable to connect"):
        load.parsed("unable to connect to 127.0.0.1:1 Connection refused")


def test_vegetas_rows_are_counted_and_end_with_the_last_answer() -> None:
    rows = [
        _row(0, 200, 2_000_000, _GOOD),
        _row(1_000_000_000, 200, 4_000_000, _DEGRADED),
        _row(2_000_000_000, 503, 1_000_000, b"{}"),
        _row(3_000_000_000, 0, 1_000_000_000, b""),
        _row(500_000_000, 202, 3_000_000, b"{}"),
    ]

    parsed = open_loop.parsed(rows, 3.5)

    assert (parsed.good, parsed.degraded, parsed.refused, parsed.failed) == (2, 1, 1, 1)
    assert parsed.seconds == pytest.approx(4.0)
    assert open_loop.parsed(rows, 5.0).seconds == 5.0
    assert (parsed.p50, parsed.slowest) == (pytest.approx(3.0), pytest.approx(1_000.0))


def test_a_target_carries_its_body() -> None:
    target = json.loads(open_loop.target("http://host", Request("/v1/events", "POST", '{"a": 1}')))

    assert (target["method"], target["url"]) == ("POST", "http://host/v1/events")
    assert base64.b64decode(target["body"]) == b'{"a": 1}'


def test_a_missing_generator_says_how_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)

    with pytest.raises(MissingGeneratorError, match="apt install wrk"):
        load.closed_loop("http://127.0.0.1:1", [Request("/")], 1, 1)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_sends_each_request_and_counts_each_kind_of_answer() -> None:
    requests = [Request("/good"), Request("/degraded"), Request("/busy"), Request("/events", "POST", "{}")]
    with _server() as (base, seen):
        result = load.closed_loop(base, requests, 1, 1)

    assert min(result.good, result.degraded, result.refused) > 0
    assert result.good > result.degraded
    assert result.failed == 0
    assert {("GET", "/good"), ("GET", "/degraded"), ("GET", "/busy"), ("POST", "/events")} == seen


@pytest.mark.skipif(shutil.which("vegeta") is None, reason="vegeta is not installed")
def test_vegeta_keeps_a_rate_and_what_an_answer_says_of_itself() -> None:
    requests = [Request("/good"), Request("/degraded"), Request("/busy"), Request("/events", "POST", "{}")]
    with _server() as (base, seen):
        result: Load = open_loop.open_loop(base, requests, 20, 1)

    assert (result.good, result.degraded, result.refused, result.failed) == (10, 5, 5, 0)
    assert ("POST", "/events") in seen


def _row(due: int, status: int, latency: int, body: bytes) -> str:
    return f"{due},{status},{latency},0,{len(body)},,{base64.b64encode(body).decode()},,0,GET,http://host/,"


@contextmanager
def _server() -> Iterator[tuple[str, set[tuple[str, str]]]]:
    seen: set[tuple[str, str]] = set()

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.add((self.command, self.path))
            body = _DEGRADED if self.path == "/degraded" else _GOOD
            self.send_response(503 if self.path == "/busy" else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
