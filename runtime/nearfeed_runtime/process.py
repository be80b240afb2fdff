"""A service process is a set of named loops that run until they are told to stop."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import structlog

from nearfeed_contracts.errors import BackendUnavailableError, NearfeedError
from nearfeed_runtime.health import Checks, health_listener

T = TypeVar("T")

logger = structlog.get_logger(__name__)

_LOOK_SECONDS = 1.0
_SERVERS_START_SECONDS = 45.0  # less than the startup probes allow
_RETRY_SECONDS = 1.0


class LoopEndedError(NearfeedError):
    """A loop that ended by an error; the process cannot do its work without it."""


class Loop(NamedTuple):
    """Work that goes on beside requests; `run` returns soon after its event is set."""

    name: str
    run: Callable[[threading.Event], None]


def opened(bootstrap: Callable[[], T]) -> T:
    """What `bootstrap` returns; it is called again for 45 s while a server does not answer.

    A service is often started together with its servers. Raises BackendUnavailableError after that time.
    """
    give_up = time.monotonic() + _SERVERS_START_SECONDS
    while True:
        try:
            return bootstrap()
        except BackendUnavailableError as error:
            if time.monotonic() >= give_up:
                raise
            logger.warning("waiting for a server", error=str(error))
            time.sleep(_RETRY_SECONDS)


@contextmanager
def running(loops: Sequence[Loop]) -> Iterator[threading.Event]:
    """Runs each loop in a thread of its own; on leaving, sets the event and waits for all."""
    with _started(loops) as (stop, _):
        yield stop


@contextmanager
def _started(loops: Sequence[Loop]) -> Iterator[tuple[threading.Event, list[threading.Thread]]]:
    stop = threading.Event()
    threads = [
        threading.Thread(target=_guarded, args=(loop, stop), name=loop.name, daemon=True) for loop in loops
    ]
    for thread in threads:
        thread.start()
    try:
        yield stop, threads
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=30)


def every(seconds: float, work: Callable[[], object]) -> Callable[[threading.Event], None]:
    """A loop body that does `work`, waits and begins again; an error is logged and the work tried anew."""

    def run(stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                work()
            except Exception:
                logger.exception("loop failed", loop=threading.current_thread().name)
            stop.wait(seconds)

    return run


def run_until_signal(
    loops: Sequence[Loop], *, health_port: int = 0, checks: Checks = MappingProxyType({})
) -> None:
    """The main of a service without an API: runs the loops until SIGTERM or SIGINT.

    What is under way is finished first. Raises LoopEndedError, so that a supervisor starts the process
    anew, and HealthPortError.
    """
    with _started(loops) as (stop, threads):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        with health_listener(health_port, {"loops": partial(_check_alive, threads), **checks}):
            logger.info("started", loops=[loop.name for loop in loops], health_port=health_port or None)
            while not stop.wait(_LOOK_SECONDS):
                _check_alive(threads)
            logger.info("stopping")
    logger.info("stopped")


def _check_alive(threads: Sequence[threading.Thread]) -> None:
    ended = [thread.name for thread in threads if not thread.is_alive()]
    if ended:
        raise LoopEndedError(
            f"The loop {ended[0]} has ended by an error; see the log, and start the process anew."
        )


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turns a NearfeedError into its sentence on standard error and exit status 2."""
    try:
        yield
    except NearfeedError as error:
        sys.stderr.write(f"nearfeed: {error}\n")
        raise SystemExit(2) from None


def _guarded(loop: Loop, stop: threading.Event) -> None:
    try:
        loop.run(stop)
    except Exception:
        logger.exception("loop ended", loop=loop.name)
