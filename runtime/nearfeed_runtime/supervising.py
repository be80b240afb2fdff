"""A child process that is started again whenever it ends."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Makes this process get SIGTERM when the thread that started it ends; only Linux can do that.

    Raises SystemExit where the parent, by its process id, has ended already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(f"The process {parent} that has started this one is gone.")


logger = structlog.get_logger(__name__)
_LOOK_SECONDS = 0.2
_LEAST_LIFE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 30.0


def _nothing(_pid: int, _status: int) -> None:
    """What is done about a process that has ended, where nothing is asked for."""


@dataclass
class SupervisedProcess:
    """Runs a command. A process that ends is replaced at once, or, when it has lived for less than five
    seconds, after a pause of one second that doubles up to half a minute.

    `name` is for logs, `environment` is added to that of this process, `files` are descriptors that the child
    inherits, and `ended` is called with the process id and the status of a process that has ended. The
    child is in a session of its own: what a terminal sends reaches this process alone.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[int] = ()
    ended: Callable[[int, int], None] = _nothing
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _started_at: float = field(default=0.0, init=False)
    _pause_seconds: float = field(default=0.0, init=False)

    def look(self) -> None:
        """Starts a process where there is none and the pause is over. Raises what `ended` raises."""
        if self._process is None:
            if time.monotonic() >= self._started_at + self._pause_seconds:
                self._start()
            return
        status = self._process.poll()
        if status is None:
            return
        lived = time.monotonic() - self._started_at
        short = lived < _LEAST_LIFE_SECONDS
        self._pause_seconds = min(max(1.0, 2 * self._pause_seconds), _LONGEST_PAUSE_SECONDS) if short else 0.0
        self._forget(self._process.pid, status)

    def terminate(self) -> None:
        """Sends SIGTERM; `wait` then lets the process finish what it is doing."""
        if self._process is not None:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Kills a process that has not ended in time."""
        if self._process is None:
            return
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        logger.info("process ended", name=self.name, process=self._process.pid, status=status)
        self._process = None

    def _start(self) -> None:
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603
            self.command,
            env=os.environ | self.environment,
            pass_fds=self.files,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        logger.info("process started", name=self.name, process=self._process.pid)

    def _forget(self, pid: int, status: int) -> None:
        self._process = None
        logger.warning("process ended", name=self.name, process=pid, status=status)
        self.ended(pid, status)


def supervise(processes: Sequence[SupervisedProcess], stop: threading.Event, grace_seconds: float) -> None:
    """Keeps the processes running until `stop` is set, then ends them in order.

    Those that take longer than `grace_seconds` are killed. Raises what their `ended` raises.
    """
    try:
        while not stop.is_set():
            for process in processes:
                process.look()
            stop.wait(_LOOK_SECONDS)
    finally:
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + grace_seconds
        for process in processes:
            process.wait(max(0.0, deadline - time.monotonic()))
