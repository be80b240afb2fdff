"""One pipeline at a time on a database."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout
from sqlalchemy import Engine

from nearfeed_contracts.errors import ConflictError
from nearfeed_runtime.sql import sole_worker

_WORK = "pipeline"
# Who only looks whether a pipeline runs holds the lock for a moment.
_ATTEMPTS = 5
_PAUSE_SECONDS = 0.1


class PipelineRunningError(ConflictError):
    """Another pipeline runs on this database."""


@contextmanager
def sole_pipeline(engine: Engine) -> Iterator[None]:
    """Nobody else runs a pipeline within the block. The lock ends with the process, also when it is killed.

    Raises PipelineRunningError.
    """
    for _ in range(_ATTEMPTS):
        with _lock(engine) as alone:
            if alone:
                yield
                return
        time.sleep(_PAUSE_SECONDS)
    raise PipelineRunningError(
        "Another pipeline runs on this database; wait until it has ended, as `nearfeed pipeline list` tells."
    )


def runs_now(engine: Engine) -> bool:
    """Whether a pipeline runs in any process."""
    with _lock(engine) as alone:
        return not alone


@contextmanager
def _lock(engine: Engine) -> Iterator[bool]:
    if engine.dialect.name != "sqlite":
        with sole_worker(engine, _WORK, for_hours=True) as alone:
            yield alone
        return
    lock = FileLock(f"{engine.url.database}.{_WORK}.lock", timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
