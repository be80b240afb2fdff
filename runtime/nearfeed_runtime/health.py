"""Health and metrics of a process that serves no API, over a small HTTP listener."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import orjson
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import Engine, literal, select

from nearfeed_contracts.errors import NearfeedError
from nearfeed_runtime.sql import read_connection

logger = structlog.get_logger(__name__)
Checks = Mapping[str, Callable[[], object]]
Answer = tuple[HTTPStatus, str, bytes]
_JSON = "application/json"


class HealthPortError(NearfeedError):
    """A port that cannot be listened on."""


def database_answers(engine: Engine) -> None:
    """Raises what the driver raises where the database does not answer."""
    with read_connection(engine) as connection:
        connection.execute(select(literal(1)))


@contextmanager
def health_listener(port: int, checks: Checks) -> Iterator[None]:
    """Answers /healthz, /readyz and /metrics on all addresses meanwhile; port 0: not at all.

    /readyz is 503 while a check raises. Raises HealthPortError.
    """
    if port == 0:
        yield
        return
    server = _server(port, checks)
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(path: str, checks: Checks) -> Answer:
    """What a path is answered with."""
    match path.partition("?")[0]:
        case "/healthz":
            return HTTPStatus.OK, _JSON, orjson.dumps({"status": "ok", "version": version("nearfeed")})
        case "/readyz":
            return _readiness(checks)
        case "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest()
    return HTTPStatus.NOT_FOUND, _JSON, b'{"paths":["/healthz","/readyz","/metrics"]}'


def _readiness(checks: Checks) -> Answer:
    found = {name: _passes(name, check) for name, check in checks.items()}
    ready = all(found.values())
    status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    return status, _JSON, orjson.dumps({"ready": ready, "checks": found})


def _passes(name: str, check: Callable[[], object]) -> bool:
    try:
        check()
    except Exception as error:
        logger.warning("not ready", check=name, error=str(error))
        return False
    return True


def _server(port: int, checks: Checks) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            status, kind, body = answer(self.path, checks)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Probes come every few seconds and say nothing."""

    server = ThreadingHTTPServer(("", port), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = _listening(port)
    return server


def _listening(port: int) -> socket.socket:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise HealthPortError(
            f"NEARFEED_HEALTH_PORT: cannot listen on {port} ({error.strerror}); choose another, or 0."
        ) from None
