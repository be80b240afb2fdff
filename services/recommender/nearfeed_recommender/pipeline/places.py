"""How places are given out under limits, with a share kept for new posts and first exposures.

They are filled one by one, so that all of these hold at once; `filled` says how. Candidates are numbers
here, 0 the best.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nearfeed_recommender.pipeline.windows import Keys, Limit, Pin, Windows

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
