"""Readings: how the interactions of one reader with one post become one row, and its weight.

A row keeps, per kind, the latest time (and a rating's value), merged by maximum. So any order,
repetition or replay of events gives the same row. No clock enters.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from nearfeed_contracts.events import Kind

EXCLUDING: Final[tuple[Kind, ...]] = ("hide", "report")
UNDOES: Final[Mapping[Kind, Kind]] = {"unlike": "like", "unsave": "save"}
LOWEST_GOOD_RATING = 3.0
MINUTE_MICROS = 60_000_000
HOUR_MICROS = 60 * MINUTE_MICROS
DAY_MICROS = 24 * HOUR_MICROS


@dataclass(frozen=True)
class WeightRule:
    """What each kind adds to a reading's weight, and after how long it counts half.

    `half_life_days` runs back from the reader's own newest counting time.
    """

    by_kind: Mapping[Kind, float] = field(
        default_factory=lambda: {
            "click": 0.5,
            "read": 1.0,
            "like": 1.0,
            "comment": 2.0,
            "share": 2.0,
            "save": 2.0,
            "rating": 1.0,
        }
    )
    half_life_days: float = 90.0


@dataclass(frozen=True)
class Reading:
    """The latest time of each kind, in microseconds, and the value of the latest rating."""

    times: Mapping[Kind, int] = field(default_factory=dict)
    rating: float | None = None

    def merged(self, kind: Kind, occurred_at: int, value: float | None = None) -> "Reading":
        """The row after one more event. Of two ratings at one time the lower wins."""
        before = self.times.get(kind)
        times = {**self.times, kind: occurred_at if before is None else max(before, occurred_at)}
        if kind != "rating" or value is None:
            return Reading(times, self.rating)
        if before is None or self.rating is None or occurred_at > before:
            return Reading(times, value)
        return Reading(times, min(self.rating, value) if occurred_at == before else self.rating)

    def after(self, moment: int) -> "Reading":
        """Without what happened at `moment` or before; merging what came later gives the same."""
        times = {kind: at for kind, at in self.times.items() if at > moment}
        return Reading(times, self.rating if "rating" in times else None)

    def counting_times(self) -> dict[Kind, int]:
        """The kinds that count, with their times; {} for a post that the reader does not want."""
        if self.is_excluded():
            return {}
        return {
            kind: moment
            for kind, moment in self.times.items()
            if kind not in UNDOES and not self._is_undone(kind)
        }

    def newest_at(self) -> int | None:
        """The newest counting time, or None where the row does not count."""
        return max(self.counting_times().values(), default=None)

    def weight(self, rule: WeightRule, newest_of_reader: int) -> float:
        """Sum over counting kinds of w_kind * 2^((t_kind - t_newest) / half_life)."""
        half_life = rule.half_life_days * DAY_MICROS
        return sum(
            rule.by_kind.get(kind, 0.0) * math.exp2((moment - newest_of_reader) / half_life)
            for kind, moment in self.counting_times().items()
        )

    def is_excluded(self) -> bool:
        """Hidden, reported or rated low: weight 0, and never shown again."""
        low = self.rating is not None and self.rating < LOWEST_GOOD_RATING
        return low or any(kind in self.times for kind in EXCLUDING)

    def is_seen(self) -> bool:
        """Whether the reader has met the post: any kind that stands, excluding ones among them.

        A like that was taken back leaves what was before it: a post that was liked without being read
        may be shown again.
        """
        return any(kind not in UNDOES and not self._is_undone(kind) for kind in self.times)

    def _is_undone(self, kind: Kind) -> bool:
        return any(
            undone == kind and self.times.get(undoing, -1) >= self.times[kind]
            for undoing, undone in UNDOES.items()
            if undoing in self.times
        )


def weights_of(readings: Iterable[Reading], rule: WeightRule) -> list[float]:
    """The weights of one reader's readings, relative to their newest counting time."""
    rows = list(readings)
    newest = max((moment for row in rows if (moment := row.newest_at()) is not None), default=0)
    return [row.weight(rule, newest) for row in rows]
