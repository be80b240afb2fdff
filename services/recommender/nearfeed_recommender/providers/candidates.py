"""A post on its way through a provider, with what every step made of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

SOURCE_MARK = "source:"


class Mark(NamedTuple):
    """What one step made of a candidate: its rank (from 1) and its score after the step.

    A source's mark is named `source:NAME`, the others `blend`, `rank` and `slate:RULE`.
    """

    step: str
    rank: int
    score: float


@dataclass(frozen=True)
class Candidate:
    """`source` is the one that is said to have brought it: the first by its weighted rank."""

    item_id: str
    score: float
    source: str
    marks: tuple[Mark, ...] = ()

    def marked(self, step: str, rank: int, score: float) -> "Candidate":
        """With one more mark, and its score."""
        return replace(self, score=score, marks=(*self.marks, Mark(step, rank, score)))


@dataclass(frozen=True)
class Facts:
    """What filters and slate rules look at; `published_at` in microseconds since 1970."""

    community_id: str
    author_id: str
    published_at: int
    tags: tuple[str, ...]
    language: str | None


def marked_in_order(step: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Each candidate with a mark of its place, at the score that it has."""
    return [
        candidate.marked(step, rank, candidate.score) for rank, candidate in enumerate(candidates, start=1)
    ]
