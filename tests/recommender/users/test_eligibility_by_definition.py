"""What a user may see: masks and filters of searches against the definition, post by post."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recommender.users.audiences import START, Audience, audiences, empty_state

from nearfeed_backends.embedded.numpy_store import matches
from nearfeed_contracts.vector_store import StoredVector
from nearfeed_recommender.catalog.columns import Columns, PostFacts
from nearfeed_recommender.users.eligibility import Eligibility, Wish
from nearfeed_recommender.users.memberships import Controls

quick = settings(max_examples=150, deadline=None)


@quick
@given(audience=audiences())
def test_a_mask_says_of_each_post_whether_it_is_allowed(audience: Audience) -> None:
    eligible = audience.eligibility()
    rows = eligible.state.columns.rows_of(post.item_id for post in audience.posts)
    assert eligible.allows(rows).tolist() == [audience.allows(post) for post in audience.posts]


@quick
@given(audience=audiences(), without=st.sets(st.integers(0, 9)))
def test_posts_that_are_excluded_are_left_out_beside_the_others(
    audience: Audience, without: set[int]
) -> None:
    eligible = audience.eligibility()
    columns = eligible.state.columns
    left_out = {f"p{number}" for number in without}
    once = eligible.excluding(columns.reserve(list(left_out)[:3]))
    twice = once.excluding(columns.reserve(left_out))
    rows = columns.rows_of(post.item_id for post in audience.posts)
    expected = [audience.allows(post) and post.item_id not in left_out for post in audience.posts]
    assert twice.allows(rows).tolist() == expected
    assert left_out <= twice.search_filter.exclude_item_ids


@quick
@given(audience=audiences(), limit=st.integers(0, 6))
def test_the_first_are_the_first_that_are_allowed(audience: Audience, limit: int) -> None:
    eligible = audience.eligibility()
    newest = eligible.state.columns.newest_first()
    assert eligible.first(newest, limit).tolist() == newest[eligible.allows(newest)][:limit].tolist()


def test_the_first_are_found_behind_any_number_of_others() -> None:
    columns = Columns()
    columns.put([PostFacts(f"p{n}", 1, "c0" if n % 1_500 else "c1", "a0", (), None, n) for n in range(6_000)])
    eligible = Eligibility(empty_state(columns), Wish(frozenset(["c1"])), ("membership",))
    found = eligible.first(columns.newest_first(), 3)
    assert [columns.ids[row] for row in found.tolist()] == ["p4500", "p3000", "p1500"]


@quick
@given(audience=audiences())
def test_a_search_filter_passes_what_is_allowed_and_all_but_topics_languages_and_deletion(
    audience: Audience,
) -> None:
    eligible = audience.eligibility()
    where = eligible.search_filter
    wider = replace(
        audience,
        controls=replace(audience.controls, tags=frozenset()),
        filters=tuple(each for each in audience.filters if isinstance(each, str)),
    )
    for post in audience.posts:
        stored = StoredVector(
            post.item_id, post.community_id, post.author_id, post.published_at or START, np.zeros(1)
        )
        if post.published_at is not None:
            assert matches(stored, where) == wider.allows(post)


@quick
@given(audience=audiences(), moment=st.integers(START - 1, START + 10))
def test_since_a_moment(audience: Audience, moment: int) -> None:
    eligible = audience.eligibility()
    late = [post for post in audience.posts if audience.allows(post) and (post.published_at or 0) >= moment]
    rows = eligible.state.columns.rows_of(post.item_id for post in audience.posts)
    assert len(eligible.newest_since(moment, 1)) == min(1, len(late))
    assert eligible.since(moment).allows(rows).tolist() == [post in late for post in audience.posts]


class EditedColumns(Columns):
    """Columns of which a post is edited whenever a mask of theirs has been made."""

    def __init__(self, edits: list[PostFacts]) -> None:
        super().__init__()
        self._edits = edits

    def sets_with(self, tags: object) -> np.ndarray:
        mask = super().sets_with(tags)  # type: ignore[arg-type]
        if self._edits:
            self.put([self._edits.pop()])
        return mask


def test_a_muted_topic_stays_away_while_its_post_is_edited() -> None:
    """It has a muted tag before and after the edit, with another set of tags."""
    columns = EditedColumns([PostFacts("p", 2, "c", "a", ("red", "new"), None, 1)])
    columns.put([PostFacts("p", 1, "c", "a", ("red",), None, 1)])
    state = replace(empty_state(columns), controls=Controls(tags=frozenset(["red"])))
    eligible = Eligibility(state, Wish(), ())
    assert not eligible.allows(columns.rows_of(["p"])).any()
    assert columns.tags_of(columns.row_of("p")) == ("red", "new")
