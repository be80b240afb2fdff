"""Which candidates may stand at a place, so that no window has more than n of one author or community."""

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple


class Limit(NamedTuple):
    """At most `n` candidates of one key in any `window` places; `keys` has the key of every candidate."""

    n: int
    window: int
    keys: Sequence[Hashable]


class Pin(NamedTuple):
    """A place that is given out before the others."""

    place: int
    candidate: int


class Keys(NamedTuple):
    """The keys of all limits as numbers: those of each candidate, and the limit of each number."""

    by_candidate: Sequence[Sequence[int]]
    limits: Sequence[Limit]

    @classmethod
    def of(cls, count: int, limits: Sequence[Limit]) -> "Keys":
        numbers: dict[tuple[int, Hashable], int] = {}
        by_candidate = [
            [
                numbers.setdefault((nth, limit.keys[candidate]), len(numbers))
                for nth, limit in enumerate(limits)
            ]
            for candidate in range(count)
        ]
        return cls(by_candidate, [limits[nth] for nth, _ in numbers])


class Windows:
    """Places that are given out from the first on, with some pinned ahead."""

    def __init__(self, keys: Keys, pins: Iterable[Pin]) -> None:
        self._keys = keys
        self._places: list[list[int]] = [[] for _ in keys.limits]
        self._full: set[int] = set()
        self._free_again: dict[int, list[int]] = {}
        self._place = 0
        for pin in pins:
            for key in keys.by_candidate[pin.candidate]:
                insort(self._places[key], pin.place)
        self._pinned = [key for key, places in enumerate(self._places) if places]

    def have_room(self, candidate: int, place: int) -> bool:
        """Whether the candidate may have the place, whatever place is the next."""
        return all(self._has_room(key, place) for key in self._keys.by_candidate[candidate])

    def move_to(self, place: int) -> None:
        """Makes `place`, the one after the last, the next to be given out."""
        self._place = place
        self._full.difference_update(self._free_again.pop(place, ()))
        for key in self._pinned:
            (self._full.discard if self._has_room(key, place) else self._full.add)(key)

    def first(self, candidates: Sequence[int]) -> int | None:
        """Where in `candidates` the first stands that may have the next place."""
        full, keys = self._full, self._keys.by_candidate
        return next((at for at, one in enumerate(candidates) if full.isdisjoint(keys[one])), None)

    def take(self, candidate: int) -> None:
        """Gives the next place to the candidate."""
        for key in self._keys.by_candidate[candidate]:
            limit, places = self._keys.limits[key], self._places[key]
            insort(places, self._place)
            if key not in self._pinned and len(places) >= limit.n:
                self._fill(key, places[-limit.n] + limit.window)

    def _fill(self, key: int, until: int) -> None:
        if until > self._place + 1:
            self._full.add(key)
            self._free_again.setdefault(until, []).append(key)

    def _has_room(self, key: int, place: int) -> bool:
        """Whether one more place lets no window have more than n."""
        limit, places = self._keys.limits[key], self._places[key]
        at = bisect_left(places, place)
        near = [*places[max(0, at - limit.n) : at], place, *places[at : at + limit.n]]
        return all(last - first >= limit.window for first, last in zip(near, near[limit.n :], strict=False))
