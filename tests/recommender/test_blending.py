"""Blending rankings: what always holds."""

from hypothesis import given
from hypothesis import strategies as st

from nearfeed_recommender.blending import interleave, reserve_places
from nearfeed_recommender.pages import Entry

posts = st.lists(st.integers(0, 30), unique=True, max_size=20)


def entries(ids: list[int], source: str) -> list[Entry]:
    return [Entry(f"p{number}", 1 / rank, source) for rank, number in enumerate(ids, start=1)]


def ids_of(ranking: list[Entry]) -> list[str]:
    return [entry.item_id for entry in ranking]


@given(ranked=posts, new=posts, every=st.integers(2, 6))
def test_each_reserved_place_has_the_best_unplaced_new_post(
    ranked: list[int], new: list[int], every: int
) -> None:
    usual, special = entries(ranked, "personal"), entries(new, "new")
    blended = ids_of(reserve_places(usual, special, every))
    assert len(blended) == len(set(blended))
    assert set(ids_of(usual)) <= set(blended)
    for place in range(every - 1, len(blended), every):
        waiting = [item for item in ids_of(special) if item not in blended[:place]]
        if waiting:
            assert blended[place] == waiting[0]
    others = [item for item in blended if item not in ids_of(special)]
    assert others == [item for item in ids_of(usual) if item not in ids_of(special)]


@given(ranked=posts, every=st.integers(2, 6))
def test_new_posts_that_are_the_best_anyway_change_no_place(ranked: list[int], every: int) -> None:
    usual = entries(ranked, "personal")
    assert ids_of(reserve_places(usual, entries(ranked, "new"), every)) == ids_of(usual)
    assert reserve_places(usual, [], every) == usual


@given(first=posts, second=posts)
def test_interleaving_keeps_every_post_once_and_each_order(first: list[int], second: list[int]) -> None:
    blended = ids_of(interleave(entries(first, "a"), entries(second, "b")))
    assert sorted(blended) == sorted(set(ids_of(entries(first, "a")) + ids_of(entries(second, "b"))))
    only_first = [f"p{number}" for number in first if number not in second]
    assert [item for item in blended if item in only_first] == only_first
