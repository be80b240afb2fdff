"""Who visits when: simulated readers one after the other, until their time is up."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import httpx
import numpy as np

_TELL_SECONDS = 60.0
_MOST_FAILURES = 20  # one after the other
_NAMES = {"impression": "posts seen", "click": "clicks", "read": "reads", "like": "likes"}
Visit = Callable[[int, np.random.Generator], Counter[str]]


@dataclass(frozen=True)
class Simulation:
    """How many readers come, for how long, how many in a second at most; `seed` tells what they draw."""

    readers: int
    minutes: float
    per_second: float
    seed: int


@dataclass
class Tally:
    """What has been done so far, by kind; and visits that failed, with the last reason."""

    visits: int = 0
    done: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    failed_in_a_row: int = 0
    last_failure: str = ""

    def told(self) -> str:
        """It in a line."""
        parts = [f"{self.visits:,} visits", *(f"{self.done[kind]:,} {name}" for kind, name in _NAMES.items())]
        if self.failed:
            parts.append(f"{self.failed:,} visits failed, the last with: {self.last_failure}")
        return ", ".join(parts)


def come_and_go(
    simulation: Simulation, visit: Visit, stop: threading.Event, tell: Callable[[Tally], None]
) -> Tally:
    """Lets readers visit until the time is up, `stop` is set, or visits fail again and again.

    `tell` is told once a minute how it stands.
    """
    tally, began, told_at = Tally(), time.monotonic(), time.monotonic()
    for number, draw in turns(simulation.seed, simulation.readers):
        came = time.monotonic()
        if came >= began + 60 * simulation.minutes:
            break
        if came >= told_at + _TELL_SECONDS:
            told_at = came
            tell(tally)
        _count(tally, visit, number, draw)
        pause = came + 1 / simulation.per_second - time.monotonic()
        if tally.failed_in_a_row == _MOST_FAILURES or stop.wait(max(0.0, pause)):
            break
    return tally


def turns(seed: int, readers: int) -> Iterator[tuple[int, np.random.Generator]]:
    """Readers 0 to `readers` - 1 without end, each once before any comes again, with their draws."""
    for turn in count():
        for number in np.random.default_rng([seed, turn]).permutation(readers):
            yield int(number), np.random.default_rng([seed, turn, int(number) + 1])


def _count(tally: Tally, visit: Visit, number: int, draw: np.random.Generator) -> None:
    try:
        tally.done.update(visit(number, draw))
    except httpx.HTTPError as error:
        tally.failed += 1
        tally.failed_in_a_row += 1
        tally.last_failure = str(error).partition("\n")[0]
    else:
        tally.visits += 1
        tally.failed_in_a_row = 0
