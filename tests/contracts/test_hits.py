from collections.abc import Sequence

import numpy as np
import pytest

from nearfeed_contracts.vector_store import Filter, Hit, Hits

PAIRS = [("a", 0.5), ("b", 0.25), ("c", -1.0)]


def test_hits_equal_the_list_of_the_same_hits() -> None:
    hits = Hits.of(PAIRS)
    same = [Hit(*pair) for pair in PAIRS]
    assert hits == same
    assert same == hits
    assert hits == tuple(same)
    assert hits == Hits(["a", "b", "c"], np.array([0.5, 0.25, -1], np.float32))
    assert hits != same[:2]
    assert hits != [*same[:2], Hit("c", -1.5)]
    assert hits != "abc"


def test_hits_are_a_sequence_of_hits_and_columns() -> None:
    hits = Hits.of(PAIRS)
    assert isinstance(hits, Sequence)
    assert len(hits) == 3
    assert hits[-1] == Hit("c", -1.0)
    assert type(hits[0].score) is float
    assert [hit.item_id for hit in hits] == ["a", "b", "c"] == hits.item_ids
    assert hits.scores.dtype == np.float32
    assert hits[1:] == [Hit("b", 0.25), Hit("c", -1.0)]
    assert isinstance(hits[1:], Hits)
    assert not Hits()


def test_hits_do_not_change() -> None:
    scores = np.array([1.0], np.float32)
    hits = Hits(["a"], scores)
    with pytest.raises(ValueError, match="read-only"):
        hits.scores[0] = 2
    assert scores.flags.writeable
    with pytest.raises(AttributeError):
        hits.item_ids = []  # type: ignore[misc]


def test_as_many_scores_as_ids_are_needed() -> None:
    with pytest.raises(ValueError, match="2 ids have scores of the shape"):
        Hits(["a", "b"], [1.0])


@pytest.mark.parametrize(
    ("where", "nothing"),
    [
        (Filter(), False),
        (Filter(community_ids=frozenset()), True),
        (Filter(item_ids=frozenset()), True),
        (Filter(community_ids=frozenset({"c"}), item_ids=frozenset({"i"})), False),
    ],
)
def test_a_filter_with_an_empty_choice_allows_nothing(where: Filter, nothing: bool) -> None:
    assert where.allows_nothing is nothing
