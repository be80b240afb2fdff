"""Fills the places of a slate under limits, with reserved places for new posts and first exposures.

Places are filled one by one, so that all rules are satisfied at once; `filled` describes how. Candidates are
numbers here, 0 is the best.
"""

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
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


_ROUNDING = 1e-9


class NewPlaces(NamedTuple):
    """A `share` of the places for the candidates that `is_new` marks."""

    share: float
    is_new: Sequence[bool]

    def is_due(self, place: int) -> bool:
        """Whether the place (from 0) is one of those kept: every fifth for a share of 0.2."""
        return int(self.share * (place + 1) + _ROUNDING) > int(self.share * place + _ROUNDING)


class Exposure(NamedTuple):
    """One of the candidates `of` stands in the first `within` places."""

    within: int
    of: Sequence[int]

    def is_met(self, placed: Sequence["Placed"]) -> bool:
        return not {slot.candidate for slot in placed[: self.within]}.isdisjoint(self.of)


class Placed(NamedTuple):
    """A candidate at its place: `is_kept` where the place was kept for new posts, `exposure` the number of
    the exposure for which it was pinned there, `is_put_off` where a limit has kept it from a place before."""

    candidate: int
    is_kept: bool = False
    exposure: int | None = None
    is_put_off: bool = False


Pins = Mapping[int, Pin]


def filled(
    count: int, limits: Sequence[Limit], shares: Sequence[NewPlaces], exposures: Sequence[Exposure]
) -> list[Placed]:
    """The slate of `count` candidates; it ends where none of those left fits, and these are left out.

    Each place goes to the first candidate that no limit forbids. A place kept for new posts goes to the
    first of these, or where all are forbidden, the next place at which one is not; of several shares that
    wait the first is served, and a post counts for all that it is new for. For an exposure that does not
    come about so, its best candidate is pinned to the last place of `within`, or further up where the
    slate ends before it, and the slate filled anew around it. Only where pins of two exposures
    forbid each other at all places does one of them fail.
    """
    keys = Keys.of(count, limits)
    pins: dict[int, Pin] = {}
    lowest = {number: min(exposure.within, count) - 1 for number, exposure in enumerate(exposures)}
    while True:
        placed = _filled_around(pins, count, keys, shares)
        missing = next((number for number in lowest if not exposures[number].is_met(placed)), None)
        if missing is None:
            return placed
        pins.pop(missing, None)
        pin = _pin(exposures[missing], min(lowest[missing], len(placed)), keys, pins)
        if pin is None:
            del lowest[missing]
        else:
            pins[missing] = pin
            lowest[missing] = pin.place - 1


def _pin(exposure: Exposure, lowest: int, keys: Keys, pins: Pins) -> Pin | None:
    """The last place up to `lowest` that one of the exposure's candidates can have beside the other pins."""
    windows = Windows(keys, pins.values())
    places = {pin.place for pin in pins.values()}
    candidates = {pin.candidate for pin in pins.values()}
    for place in range(lowest, -1, -1):
        for candidate in exposure.of:
            if place not in places and candidate not in candidates and windows.have_room(candidate, place):
                return Pin(place, candidate)
    return None


def _filled_around(pins: Pins, count: int, keys: Keys, shares: Sequence[NewPlaces]) -> list[Placed]:
    pinned = {pin.place: Placed(pin.candidate, exposure=number) for number, pin in pins.items()}
    windows = Windows(keys, pins.values())
    free = sorted(set(range(count)) - {slot.candidate for slot in pinned.values()})
    queues = [_Queue(share, [one for one in free if share.is_new[one]]) for share in shares]
    put_off: set[int] = set()
    placed: list[Placed] = []
    for place in range(count):
        windows.move_to(place)
        for queue in queues:
            queue.owed += queue.share.is_due(place)
        slot = pinned.get(place) or _choice(windows, free, queues, put_off)
        if slot is None:
            break
        placed.append(slot._replace(is_put_off=True) if slot.candidate in put_off else slot)
        for queue in queues:
            queue.serve(slot.candidate)
        if place not in pinned:
            free.remove(slot.candidate)
            windows.take(slot.candidate)
    return placed


@dataclass
class _Queue:
    """The new candidates that have no place yet, and how many places they are owed."""

    share: NewPlaces
    waiting: list[int]
    owed: int = 0

    def serve(self, candidate: int) -> None:
        if self.share.is_new[candidate]:
            self.owed = max(0, self.owed - 1)
            if candidate in self.waiting:
                self.waiting.remove(candidate)


def _choice(
    windows: Windows, free: Sequence[int], queues: Sequence[_Queue], put_off: set[int]
) -> Placed | None:
    """Whom the place goes to; those that a limit forbids it are added to `put_off`."""
    for queue in queues:
        at = windows.first(queue.waiting) if queue.owed else None
        if at is not None:
            return Placed(queue.waiting[at], is_kept=True)
    at = windows.first(free)
    put_off.update(free[:at])
    return None if at is None else Placed(free[at])
