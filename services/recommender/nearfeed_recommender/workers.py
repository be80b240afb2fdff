"""Several processes that serve one listening socket, and the one that watches them.

A worker is a new interpreter, which opens its own clients; nothing is forked with threads or connections.
Metrics are merged by the multiprocess mode of prometheus_client: each worker writes its values to files of a
folder, and the one that is asked for /metrics adds them up. The mode is chosen by the environment before the
library is imported.
"""

import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry, generate_latest, multiprocess

from nearfeed_contracts.errors import NearfeedError

logger = structlog.get_logger(__name__)
_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_WRONG_SETTINGS = 2
_LOOK_SECONDS = 0.2
_LEAST_LIFE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 30.0
_GRACE_SECONDS = 60.0


class WorkerError(NearfeedError):
    """Workers that cannot start; each has said on standard error why."""


def supervise(listener: socket.socket, command: Sequence[str], count: int) -> None:
    """Runs `count` processes of the command until SIGTERM or SIGINT, then ends them in order.

    The command gets two more arguments, the number of the inherited listener and the id of this process. A
    worker that ends is replaced at once, or after a pause of up to half a minute when it lived for less than
    five seconds. Raises WorkerError when one ends with status 2, which is a wrong setting.
    """
    stop = threading.Event()
    with _signals(stop), tempfile.TemporaryDirectory(prefix="nearfeed-metrics-") as folder:
        os.environ[_METRICS_FOLDER] = folder
        workers = [
            _Worker(listener, [*command, str(listener.fileno()), str(os.getpid())]) for _ in range(count)
        ]
        try:
            while not stop.is_set():
                for worker in workers:
                    worker.look()
                stop.wait(_LOOK_SECONDS)
        finally:
            _end(workers)
            del os.environ[_METRICS_FOLDER]


def exposition() -> bytes:
    """The metrics of this process or, where there are several workers, of all of them."""
    if _METRICS_FOLDER not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


@dataclass
class _Worker:
    """A place for a process, whichever has it now."""

    listener: socket.socket
    command: Sequence[str]
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    pause_seconds: float = 0.0

    def look(self) -> None:
        """Starts a process where there is none and the pause is over. Raises WorkerError."""
        if self.process is None:
            if time.monotonic() >= self.started_at + self.pause_seconds:
                self._start()
            return
        status = self.process.poll()
        if status is None:
            return
        self.forget(status)
        if status == _WRONG_SETTINGS:
            raise WorkerError("The API's processes cannot start; see the line above.")
        lived = time.monotonic() - self.started_at
        short = lived < _LEAST_LIFE_SECONDS
        self.pause_seconds = min(max(1.0, 2 * self.pause_seconds), _LONGEST_PAUSE_SECONDS) if short else 0.0

    def _start(self) -> None:
        self.started_at = time.monotonic()
        number = self.listener.fileno()
        self.process = subprocess.Popen(self.command, pass_fds=[number])  # noqa: S603
        logger.info("worker started", worker=self.process.pid)

    def forget(self, status: int) -> None:
        assert self.process is not None
        logger.info("worker ended", worker=self.process.pid, status=status)
        multiprocess.mark_process_dead(self.process.pid)  # type: ignore[no-untyped-call]
        self.process = None


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _end(workers: Sequence[_Worker]) -> None:
    """Lets each finish its requests; kills those that take longer than a minute."""
    processes = [worker.process for worker in workers if worker.process is not None]
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
