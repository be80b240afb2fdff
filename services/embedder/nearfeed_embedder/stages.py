"""Long work as generators: a stage yields how far it has come and returns what it made."""

from collections.abc import Generator
from typing import TypeVar

from nearfeed_runtime.operations import Progress

T = TypeVar("T")
Stage = Generator[Progress, None, T]


def finish(stage: Stage[T]) -> T:
    """Runs a stage to its end and returns its result."""
    while True:
        try:
            next(stage)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
