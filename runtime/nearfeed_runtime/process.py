"""A service process is a set of named loops that run until they are told to stop."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import structlog

from nearfeed_contracts.errors import NearfeedError

logger = structlog.get_logger(__name__)


class Loop(NamedTuple):
    """Work that goes on beside requests; `run` returns soon after its event is set."""

    name: str
    run: Callable[[threading.Event], None]


@contextmanager
def running(loops: Sequence[Loop]) -> Iterator[threading.Event]:
    """Runs each loop in a thread of its own; on leaving, sets the event and waits for all."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=_guarded, args=(loop, stop), name=loop.name, daemon=True) for loop in loops
    ]
    for thread in threads:
        thread.start()
    try:
        yield stop
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


def run_until_signal(loops: Sequence[Loop]) -> None:
    """The main of a service without HTTP: runs the loops until SIGTERM or SIGINT."""
    with running(loops) as stop:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        stop.wait()


@contextmanager
def told_errors() -> Iterator[None]:
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
