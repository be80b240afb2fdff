"""Rules that look at vectors: against naive loops."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recommender.pipeline_inputs import (
    NO_MODELS,
    FixedEmbeddings,
    Listed,
    candidates_of,
    columns_of,
    listed,
    post,
    query_of,
)

from nearfeed_recommender.config.schema import Diversity, NearDuplicates, SlateRule
from nearfeed_recommender.pipeline.slate import Slate

# Few whole numbers, so that equal and parallel vectors, and zeros, are met often.
ROWS = st.lists(st.none() | st.tuples(*[st.integers(-2, 2)] * 3), max_size=14)
Row = tuple[int, ...] | None


def slate_of(rules: Sequence[SlateRule], rows: Sequence[Row]) -> list[Listed]:
    """What rules make of posts p0, p1, ... that have these vectors."""
    columns = columns_of(post(f"p{number}") for number in range(len(rows)))
    vectors = {f"p{number}": row for number, row in enumerate(rows) if row is not None}
    slate = Slate(rules, FixedEmbeddings(columns, vectors), NO_MODELS)  # type: ignore[arg-type]
    scores = {f"p{number}": -float(number) for number in range(len(rows))}
    return listed(columns, slate.apply(query_of(columns), candidates_of(columns, scores, {}, ["near"])))


def unchanged(rows: Sequence[Row]) -> list[Listed]:
    return [Listed(f"p{number}", -float(number), "near", (), ()) for number in range(len(rows))]


def cosine(one: Row, other: Row) -> float:
    if one is None or other is None or not any(one) or not any(other):
        return 0.0
    a, b = np.array(one, np.float64), np.array(other, np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def numbers_of(candidates: Sequence[Listed]) -> list[int]:
    return [int(candidate.item_id[1:]) for candidate in candidates]


@settings(deadline=None)
@given(rows=ROWS, similarity=st.sampled_from([0.3, 0.7, 0.9, 1.0]))
def test_of_near_duplicates_the_first_alone_stays(rows: list[Row], similarity: float) -> None:
    rule = NearDuplicates(rule="near_duplicates", model="vectors", similarity=similarity)
    stay: list[int] = []
    for number, row in enumerate(rows):
        if not any(cosine(rows[before], row) > similarity - 1e-6 for before in stay):
            stay.append(number)
    assert slate_of([rule], rows) == [unchanged(rows)[number] for number in stay]


@settings(deadline=None)
@given(rows=ROWS, strength=st.sampled_from([0.0, 0.3, 0.7, 1.0]), depth=st.integers(2, 10))
def test_each_next_post_has_the_highest_marginal_relevance(
    rows: list[Row], strength: float, depth: int
) -> None:
    rule = Diversity(rule="mmr", model="vectors", strength=strength, depth=depth)
    order = numbers_of(slate_of([rule], rows))
    n = min(depth, len(rows))
    assert sorted(order[:n]) == list(range(n))
    assert order[n:] == list(range(n, len(rows)))

    def relevance(number: int, before: Sequence[int]) -> float:
        closest = max((cosine(rows[number], rows[one]) for one in before), default=0.0)
        return (1 - strength) * (1 - number / n) - strength * closest

    for place in range(n):
        best = max(relevance(number, order[:place]) for number in order[place:n])
        assert relevance(order[place], order[:place]) == pytest.approx(best, abs=1e-6)


@settings(deadline=None)
@given(rows=ROWS)
def test_strength_0_changes_nothing(rows: list[Row]) -> None:
    rule = Diversity(rule="mmr", model="vectors", strength=0.0)
    assert slate_of([rule], rows) == unchanged(rows)


@settings(deadline=None)
@given(rows=ROWS)
def test_without_vectors_nothing_changes(rows: list[Row]) -> None:
    nothing: list[Row] = [None] * len(rows)
    for rule in (
        Diversity(rule="mmr", model="vectors", strength=0.5),
        NearDuplicates(rule="near_duplicates", model="vectors"),
    ):
        assert slate_of([rule], nothing) == unchanged(nothing)


def test_those_that_moved_are_marked() -> None:
    rows: list[Row] = [(1, 0, 0), (1, 0, 0), (0, 1, 0)]
    rule = Diversity(rule="mmr", model="vectors", strength=0.5)
    first, second, third = slate_of([rule], rows)
    assert numbers_of([first, second, third]) == [0, 2, 1]
    assert (first.marks, second.marks, third.marks) == (
        (),
        (("slate:mmr", 2, -2.0),),
        (("slate:mmr", 3, -1.0),),
    )
