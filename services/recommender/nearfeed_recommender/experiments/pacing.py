"""Works that come again and again, each only when it is due and for a small share of the time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

REST = 30  # after a work it rests for so many times as long as it took: 3 % of the time at most


@dataclass
class Pace:
    """When each work is due again, by a clock in seconds; for one thread."""

    clock: Callable[[], float] = time.monotonic
    _due: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def due(self, work: str, least_seconds: float) -> Iterator[bool]:
        """Whether to do a work in the block: so many seconds after it last began, later if it took long."""
        began = self.clock()
        if began < self._due.get(work, began):
            yield False
            return
        try:
            yield True
        finally:
            ended = self.clock()
            self._due[work] = max(began + least_seconds, ended + REST * (ended - began))
