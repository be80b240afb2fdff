"""The last hour of this process: how many calls each minute, how many failed, how long they took."""

import threading
import time
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MINUTES = 60
_SHORTEST = 0.0005
_STEP = 1.15
_BUCKETS = 80  # up to half a minute
_UPPER = _SHORTEST * _STEP ** np.arange(_BUCKETS)
_BOUNDS = _UPPER.tolist()  # bisect takes a tenth of the time of searchsorted for one number
_FAILED = 500
_QUANTILES = (0.5, 0.95, 0.99)
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Calls:
    """Calls, those of them that failed (5xx), and quantiles of their time in seconds, some 15 % exact."""

    calls: int
    failed: int
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True)
class Hour:
    """Minutes by their start in seconds since 1970, oldest first, and the whole hour by method and route."""

    minutes: list[tuple[int, Calls]]
    routes: Mapping[tuple[str, str], Calls]


class RecentCalls:
    """A ring of 60 minutes by route. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[tuple[str, str], Counts] = {}
        self._failed: dict[tuple[str, str], Counts] = {}
        self._minute = int(time.time()) // 60

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        bucket = min(bisect_left(_BOUNDS, seconds), _BUCKETS - 1)
        with self._lock:
            slot = self._turn()
            key = (method, route)
            if key not in self._times:
                self._times[key] = np.zeros((MINUTES, _BUCKETS), np.int64)
                self._failed[key] = np.zeros(MINUTES, np.int64)
            self._times[key][slot, bucket] += 1
            self._failed[key][slot] += status >= _FAILED

    def hour(self) -> Hour:
        with self._lock:
            self._turn()
            order = [(self._minute + 1 + age) % MINUTES for age in range(MINUTES)]
            times = {key: counts[order] for key, counts in self._times.items()}
            failed = {key: counts[order] for key, counts in self._failed.items()}
            first = self._minute - MINUTES + 1
        all_times = sum(times.values(), np.zeros((MINUTES, _BUCKETS), np.int64))
        all_failed = sum(failed.values(), np.zeros(MINUTES, np.int64))
        minutes = [
            ((first + age) * 60, _calls(all_times[age], all_failed[age].sum())) for age in range(MINUTES)
        ]
        routes = {key: _calls(times[key].sum(axis=0), failed[key].sum()) for key in times}
        return Hour(minutes, {key: calls for key, calls in routes.items() if calls.calls})

    def _turn(self) -> int:
        """The slot of this minute; those that have passed since are emptied."""
        now = int(time.time()) // 60
        if now == self._minute:
            return now % MINUTES
        passed = [minute % MINUTES for minute in range(max(self._minute, now - MINUTES) + 1, now + 1)]
        if passed:
            for counts in (*self._times.values(), *self._failed.values()):
                counts[passed] = 0
        self._minute = max(self._minute, now)
        return self._minute % MINUTES


def _calls(times: Counts, failed: int) -> Calls:
    total = int(times.sum())
    if not total:
        return Calls(0, 0, None, None, None)
    places = np.searchsorted(times.cumsum(), np.ceil(np.array(_QUANTILES) * total))
    return Calls(total, int(failed), *(float(_UPPER[place]) for place in places))
