"""Encoders that live in a child process, so that this one needs no torch."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.runs import open_run
from nearfeed_embedder.dataset import Post
from nearfeed_embedder.stream import Encoded, PostEncoder

CONFIGURATION = "encoder/encoder.json"
_IDLE_SECONDS = 300.0
_GRACE_SECONDS = 10.0


class RemoteEncoderError(NearfeedError):
    """Posts that the child could not encode, or that ended it."""


class EncoderChild:
    """The child process of one embedder. Thread-safe; one batch is encoded at a time.

    It is started by the first posts, which takes some seconds, and ends after five minutes without any: torch
    and the models of a run take about a gigabyte.
    """

    def __init__(self, device: str, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._arguments = [device, str(idle_seconds)]
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: Connection[tuple[str, Sequence[Post]], Encoded | str] | None = None

    def open(self, run_url: str) -> PostEncoder | None:
        """The encoder of a run, or None where the run has none. Starts nothing. Raises BrokenRunError."""
        has_one = open_run(run_url, verify=False).has_file(CONFIGURATION)
        return RemoteEncoder(self, run_url) if has_one else None

    def encode(self, run_url: str, posts: Sequence[Post]) -> Encoded:
        """Vectors and contexts (n, dim). A child that has ended is replaced. Raises RemoteEncoderError."""
        with self._lock:
            try:
                answer = self._ask(run_url, posts)
            except (EOFError, OSError):
                self._end()
                answer = self._ask_again(run_url, posts)
        if isinstance(answer, str):
            raise RemoteEncoderError(answer)
        return answer

    def close(self) -> None:
        """Ends the child after what it is encoding."""
        with self._lock:
            self._end()

    def _ask(self, run_url: str, posts: Sequence[Post]) -> Encoded | str:
        connection = self._connection or self._start()
        connection.send((run_url, posts))
        return connection.recv()

    def _ask_again(self, run_url: str, posts: Sequence[Post]) -> Encoded | str:
        try:
            return self._ask(run_url, posts)
        except (EOFError, OSError) as error:
            status = self._end()
            raise RemoteEncoderError(f"The encoder's process has ended with status {status}.") from error

    def _start(self) -> "Connection[tuple[str, Sequence[Post]], Encoded | str]":
        ours, theirs = Pipe()
        with closing(theirs):
            number = theirs.fileno()
            command = [
                sys.executable,
                "-m",
                "nearfeed_embedder.encoder_process",
                str(number),
                *self._arguments,
            ]
            environment = os.environ | {"DGLBACKEND": "pytorch"}
            self._child = subprocess.Popen(  # noqa: S603
                command, env=environment, pass_fds=[number], stdin=subprocess.DEVNULL
            )
        self._connection = ours
        return ours

    def _end(self) -> int | None:
        """The status of the child that was; None where there was none."""
        connection, child = self._connection, self._child
        self._connection = self._child = None
        if connection is None or child is None:
            return None
        connection.close()
        try:
            return child.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()


@dataclass(frozen=True)
class RemoteEncoder:
    """The encoder of one run in a child."""

    child: EncoderChild
    run_url: str

    def encode(self, posts: Sequence[Post]) -> Encoded:
        """Raises RemoteEncoderError."""
        return self.child.encode(self.run_url, posts)
