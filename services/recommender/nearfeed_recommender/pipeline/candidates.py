"""Candidates on their way through a pipeline: arrays with one place per post, in their order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfeed_recommender.catalog.columns import Rows

Values = NDArray[np.float64]
Ranks = NDArray[np.int32]
Order = NDArray[np.intp]
SOURCE_MARK = "source:"
NEW = "new"
"""What a post at a place for new posts is said to come from."""


class Mark(NamedTuple):
    """What one stage made of a candidate: its rank (from 1) and its score after the stage.

    A source's mark is named `source:NAME`, the others `blend`, `rank`, `less` and `slate:RULE`.
    """

    step: str
    rank: int
    score: float


class Trace:
    """The marks of all stages by row; kept only where a response is to be explained."""

    def __init__(self) -> None:
        self._marks: dict[int, list[Mark]] = {}

    def add(self, row: int, mark: Mark) -> None:
        self._marks.setdefault(row, []).append(mark)

    def of(self, row: int) -> tuple[Mark, ...]:
        return tuple(self._marks.get(row, ()))


class Found(NamedTuple):
    """What a source has found: rows (n), best first and each once, and their scores (n)."""

    rows: Rows
    scores: Values


NOTHING = Found(np.empty(0, np.int32), np.empty(0))


@dataclass(frozen=True)
class Candidates:
    """`rows`, `scores` and `source` (n): the post, its score, and the place in `names` of what brought it.

    `ranks` and `source_scores` (sources, n) are those of each source of the pipeline, rank 0 where it has
    not found the post. `names` has the sources, and `new` as the last.
    """

    rows: Rows
    scores: Values
    source: Ranks
    ranks: Ranks
    source_scores: Values
    names: Sequence[str]
    trace: Trace | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, order: Order | Sequence[int] | NDArray[np.bool_] | slice) -> "Candidates":
        """Those at some places (m), in that order."""
        return replace(
            self,
            rows=self.rows[order],
            scores=self.scores[order],
            source=self.source[order],
            ranks=self.ranks[:, order],
            source_scores=self.source_scores[:, order],
        )

    def mark(self, step: str, places: Sequence[int]) -> None:
        """Notes for the trace that a stage has given these places to those who have them."""
        if self.trace is not None:
            for place in places:
                score = float(self.scores[place])
                self.trace.add(int(self.rows[place]), Mark(step, place + 1, score))

    def found_by(self, place: int) -> Iterator[tuple[str, int, float]]:
        """The name, rank and score of each source that has found the post at a place."""
        for number in np.flatnonzero(self.ranks[:, place]).tolist():
            yield (
                self.names[number],
                int(self.ranks[number, place]),
                float(self.source_scores[number, place]),
            )


def nothing(names: Sequence[str]) -> Candidates:
    """No candidates of a pipeline with these sources."""
    empty = np.empty(0, np.int32)
    shape = (len(names), 0)
    return Candidates(empty, np.empty(0), empty, np.empty(shape, np.int32), np.empty(shape), (*names, NEW))
