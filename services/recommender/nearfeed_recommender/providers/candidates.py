"""A post on its way through a provider, with what every step made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

SOURCE_MARK = "source:"


class Mark(NamedTuple):
    """What one step made of a candidate: its rank (from 1) and its score after the step.

    A source's mark is named `source:NAME`, the others `blend`, `rank`, `less` and `slate:RULE`.
    """

    step: str
    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """`source` is what is said to have brought it: a source, or `new` at a place kept for new posts."""

    item_id: str
    score: float
    source: str
    marks: tuple[Mark, ...] = ()

    def marked(self, step: str, rank: int, score: float) -> "Candidate":
        """With one more mark, and its score."""
        return Candidate(self.item_id, score, self.source, (*self.marks, Mark(step, rank, score)))

    def is_of(self, source: str) -> bool:
        """Whether the source gave it, be it among others."""
        step = source_step(source)
        return any(mark.step == step for mark in self.marks)


@dataclass(frozen=True)
class Facts:
    """What filters and slate rules look at; `published_at` in microseconds since 1970."""

    community_id: str
    author_id: str
    published_at: int
    tags: tuple[str, ...]
    language: str | None


def source_step(source: str) -> str:
    """The name of a source's marks."""
    return f"{SOURCE_MARK}{source}"


def marked_in_order(step: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Each candidate with a mark of its place, at the score that it has."""
    return [
        candidate.marked(step, rank, candidate.score) for rank, candidate in enumerate(candidates, start=1)
    ]


def marked_by_score(step: str, candidates: Sequence[Candidate], scores: Sequence[float]) -> list[Candidate]:
    """Best score first, ties in the order that stood, each with a mark and its new score."""
    order = sorted(range(len(candidates)), key=lambda index: -scores[index])
    return [
        candidates[index].marked(step, rank, float(scores[index]))
        for rank, index in enumerate(order, start=1)
    ]
