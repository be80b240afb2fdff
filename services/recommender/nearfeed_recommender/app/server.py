"""Serving the API with uvicorn: who may be bound, and how it stops."""

import gc
import socket
import sys
from collections.abc import Callable
from ipaddress import ip_address

import uvicorn
from fastapi import FastAPI
from threadpoolctl import threadpool_limits

from nearfeed_contracts.errors import NearfeedError
from nearfeed_recommender.admission.door import door_protocol, guarded_calls
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.settings import SettingsError

BACKLOG = 2_048  # connections that wait to be accepted
_GRACE_SECONDS = 10
_TURN_SECONDS = 0.0005
_COLLECTED_AFTER = (20_000, 10, 50)


class BindError(NearfeedError):
    """An address that cannot or must not be bound."""


HasKeys = Callable[[RecommenderSettings], bool]


def no_keys(_: RecommenderSettings) -> bool:
    """Where SQL is not looked into."""
    return False


def check_bind(settings: RecommenderSettings, has_keys: HasKeys = no_keys) -> None:
    """Refuses a public bind without keys; `has_keys` looks for some in SQL. Raises BindError."""
    if not (_is_loopback(settings.host) or settings.api_keys or has_keys(settings)):
        raise BindError(
            f"NEARFEED_HOST: {settings.host} can be reached from other machines; make a key first "
            "(`keys create NAME --scope feed`), set NEARFEED_API_KEYS, or bind to 127.0.0.1."
        )


def check_workers(settings: RecommenderSettings) -> None:
    """Refuses several processes on back ends of one process. Raises SettingsError."""
    if settings.api_workers > 1 and settings.embedded:
        raise SettingsError(
            f"NEARFEED_API_WORKERS: {settings.embedded[0]} names an embedded back end, which serves one "
            "process; set it to a server's URL, or NEARFEED_API_WORKERS to 1."
        )


def bind(settings: RecommenderSettings, has_keys: HasKeys = no_keys) -> socket.socket:
    """A listening socket. Raises BindError where the port is in use, or keys are missing."""
    check_bind(settings, has_keys)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sends at once (TCP_NODELAY) only where the socket names its protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise BindError(
            f"NEARFEED_PORT: cannot listen on {settings.host}:{settings.port} ({error.strerror}); "
            "choose another port."
        ) from None
    listener.set_inheritable(True)
    return listener


def serve(app: FastAPI, *listeners: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT; requests under way are finished.

    Sources are asked in threads that mostly wait: one whose answer is there gets its turn after half a
    millisecond instead of five. The garbage collector does not look at what stands by now, and at what is
    kept since only once in ten million objects, for that takes it tens of milliseconds. The products of a
    request are too small to be shared out among cores, whose threads would spin for them.
    """
    sys.setswitchinterval(_TURN_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTED_AFTER)
    threadpool_limits(1, "blas")
    config = uvicorn.Config(
        app,
        http=door_protocol(guarded_calls(app.state.admissions), app.state.recent),
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        lifespan="off",
    )
    uvicorn.Server(config).run(sockets=list(listeners))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
