"""The interactions of one user as arrays: the rules of `nearfeed_core.readings` for all rows at once.

`times` (n, kinds) has the latest time of each kind in microseconds since 1970, NaN where there is none;
float64 is exact for them until the year 2255. `ratings` (n) has the values of the latest ratings, or NaN.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.events import KINDS, Kind
from nearfeed_core.readings import DAY_MICROS, EXCLUDING, LOWEST_GOOD_RATING, UNDOES, WeightRule

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

_PLACE: Final = {kind: place for place, kind in enumerate(KINDS)}
_EXCLUDING: Final = [_PLACE[kind] for kind in EXCLUDING]
_UNDONE: Final = [(_PLACE[undone], _PLACE[undoing]) for undoing, undone in UNDOES.items()]
_MEETING: Final = np.array([kind not in UNDOES for kind in KINDS])
_RATING: Final = _PLACE["rating"]


@dataclass(frozen=True)
class Engagements:
    """What follows from the rows of a user.

    `seen` (n): the user has met the post. `excluded` (n): hidden, reported or rated low. `counting`
    (n, kinds): the times that count, NaN elsewhere. `newest` (n): the newest of these, NaN for a row that
    does not count.
    """

    seen: Mask
    excluded: Mask
    counting: Values
    newest: Values


def engagements_of(times: Values, ratings: Values) -> Engagements:
    """The rules of `Reading.is_seen`, `is_excluded` and `counting_times`, row by row."""
    standing = ~np.isnan(times) & _MEETING
    for undone, undoing in _UNDONE:
        standing[:, undone] &= ~(times[:, undoing] >= times[:, undone])
    excluded = (ratings < LOWEST_GOOD_RATING) | (~np.isnan(times[:, _EXCLUDING])).any(axis=1)
    counting = np.where(standing & ~excluded[:, None], times, np.nan)
    newest = np.fmax.reduce(counting, axis=1, initial=np.nan)
    return Engagements(standing.any(axis=1), excluded, counting, newest)


def times_after(times: Values, ratings: Values, moment: float) -> tuple[Values, Values]:
    """The rows without what happened at `moment` or before (`Reading.after`)."""
    later = np.where(times > moment, times, np.nan)
    return later, np.where(np.isnan(later[:, _RATING]), np.nan, ratings)


def merge_event(times: Values, rating: float, kind: Kind, at: float, value: float | None) -> float:
    """Merges an event into one row (kinds), in place, and returns its rating (`Reading.merged`)."""
    place = _PLACE[kind]
    before = times[place]
    times[place] = np.fmax(before, at)
    if kind != "rating" or value is None:
        return rating
    if np.isnan(before) or np.isnan(rating) or at > before:
        return value
    return min(rating, value) if at == before else rating


def weights_of_rows(counting: Values, rule: WeightRule) -> Values:
    """The weights (n) of rows by their counting times (n, kinds), relative to the newest among them.

    The sum over counting kinds of w_kind * 2^((t_kind - t_newest) / half_life).
    """
    if not counting.size:
        return np.zeros(len(counting))
    by_kind = np.array([rule.by_kind.get(kind, 0.0) for kind in KINDS])
    newest = np.fmax.reduce(counting, axis=None)
    shares = np.exp2((counting - newest) / (rule.half_life_days * DAY_MICROS))
    return np.asarray(np.where(np.isnan(shares), 0.0, shares) @ by_kind)
