"""Several processes that serve one listening socket, and the one that watches them.

A worker is a new interpreter, which opens its own clients; nothing is forked with threads or connections.
Their metrics are merged: each worker writes its values to files of a folder, and the one that is asked for
/metrics adds them up.
"""

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nearfeed_contracts.errors import NearfeedError
from nearfeed_runtime import metrics
from nearfeed_runtime.supervising import SupervisedProcess, supervise

_WRONG_SETTINGS = 2
_GRACE_SECONDS = 60.0


class WorkerError(NearfeedError):
    """Workers that cannot start; each has said on standard error why."""


def supervise_workers(listener: socket.socket, command: Sequence[str], count: int) -> None:
    """Runs `count` processes of the command until SIGTERM or SIGINT, then ends them in order.

    The command gets two more arguments, the number of the inherited listener and the id of this process.
    Raises WorkerError when one ends with status 2, which is a wrong setting.
    """
    number = listener.fileno()
    stop = threading.Event()
    with _signals(stop), tempfile.TemporaryDirectory(prefix="nearfeed-metrics-") as folder:

        def ended(pid: int, status: int) -> None:
            metrics.mark_ended(pid, Path(folder))
            if status == _WRONG_SETTINGS:
                raise WorkerError("The API's processes cannot start; see the line above.")

        workers = [
            SupervisedProcess(
                "api",
                [*command, str(number), str(os.getpid())],
                environment={metrics.FOLDER: folder},
                files=[number],
                ended=ended,
            )
            for _ in range(count)
        ]
        supervise(workers, stop, _GRACE_SECONDS)


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
