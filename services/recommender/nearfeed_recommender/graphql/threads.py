"""The threads in which GraphQL waits for its back ends: few, and its own, so that the feed's stay free."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from sqlalchemy.exc import SQLAlchemyError

from nearfeed_contracts.errors import BackendUnavailableError

THREADS = 4
V = TypeVar("V")
_limiter: RunVar[CapacityLimiter] = RunVar("graphql threads")  # one of each event loop


async def in_thread(work: Callable[[], V]) -> V:
    """What the work returns, once one of the threads is free. Raises as `asked` does."""
    return await to_thread.run_sync(asked, work, limiter=_of_this_loop())


def asked(work: Callable[[], V]) -> V:
    """What the work returns. Raises what it raises, and BackendUnavailableError where SQL does not answer."""
    try:
        return work()
    except SQLAlchemyError as error:
        raise BackendUnavailableError("The database does not answer; try again.") from error


def _of_this_loop() -> CapacityLimiter:
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = CapacityLimiter(THREADS)
        _limiter.set(limiter)
    return limiter
