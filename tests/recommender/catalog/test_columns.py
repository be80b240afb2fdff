"""Columns against a dictionary of posts, under any writes, growth, and readers at the same time."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recommender.threaded import meanwhile

from nearfeed_recommender.catalog import columns as columns_module
from nearfeed_recommender.catalog.columns import Columns, PostFacts, distinct

IDS = [f"p{number}" for number in range(12)]
TAGS = ["red", "green", "blue"]

facts = st.builds(
    PostFacts,
    item_id=st.sampled_from(IDS),
    version=st.integers(1, 6),
    community_id=st.sampled_from(["c0", "c1"]),
    author_id=st.sampled_from(["a0", "a1", "a2"]),
    tags=st.lists(st.sampled_from(TAGS), max_size=3).map(tuple),
    language=st.sampled_from([None, "en", "de"]),
    published_at=st.none() | st.integers(0, 4),
)
writes = st.lists(st.lists(facts, max_size=4) | st.lists(st.sampled_from(IDS), max_size=3), max_size=12)


@dataclass
class Model:
    """What was written last of each post by the rule of versions."""

    posts: dict[str, PostFacts] = field(default_factory=dict)

    def put(self, post: PostFacts) -> None:
        before = self.posts.get(post.item_id)
        if before is None or post.version >= before.version:
            self.posts[post.item_id] = post

    @property
    def live(self) -> dict[str, PostFacts]:
        return {item: post for item, post in self.posts.items() if post.published_at is not None}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays that have to grow."""
    monkeypatch.setattr(columns_module, "_SMALLEST", 2)


def assert_equal(columns: Columns, model: Model) -> None:
    live = {columns.ids[row] for row in np.flatnonzero(columns.live).tolist()}
    assert live == model.live.keys()
    for item_id, post in model.live.items():
        assert columns.facts_of(columns.row_of(item_id)) == post
        assert columns.has_live(item_id)
    for item_id, post in model.posts.items():
        row = columns.row_of(item_id)
        assert columns.ids[row] == item_id
        assert columns.version[row] == post.version


def assert_newest_first(columns: Columns, model: Model) -> None:
    newest = sorted(model.live.values(), key=lambda post: (post.published_at, post.item_id), reverse=True)
    assert [columns.ids[row] for row in columns.newest_first().tolist()] == [post.item_id for post in newest]


@settings(max_examples=120, deadline=None)
@given(told=writes, looks=st.sets(st.integers(0, 11)))
def test_columns_are_what_was_written(told: list[list[PostFacts | str]], looks: set[int]) -> None:
    columns, model, rows = Columns(), Model(), dict[str, int]()
    for number, batch in enumerate(told):
        posts = [each for each in batch if isinstance(each, PostFacts)]
        ids = [each for each in batch if isinstance(each, str)]
        columns.put(posts)
        assert [columns.ids[row] for row in columns.reserve(ids).tolist()] == ids
        for post in posts:
            model.put(post)
        if number in looks:
            assert_newest_first(columns, model)
        for item_id in IDS:
            row = columns.row_of(item_id)
            assert row == rows.setdefault(item_id, row) or rows[item_id] == -1
            rows[item_id] = row
    assert_equal(columns, model)
    assert_newest_first(columns, model)
    assert len(columns) == len(set(columns.ids)) <= len(columns.live)


@settings(max_examples=80, deadline=None)
@given(
    told=st.lists(facts, max_size=12),
    tags=st.sets(st.sampled_from([*TAGS, "none has it"])),
    authors=st.sets(st.sampled_from(["a0", "a1", "nobody"])),
)
def test_masks_are_those_of_the_values(told: list[PostFacts], tags: set[str], authors: set[str]) -> None:
    columns, model = Columns(), Model()
    columns.put(told)
    for post in told:
        model.put(post)
    with_tag, by_author = columns.sets_with(tags), columns.authors.members(authors)
    for item_id, post in model.live.items():
        row = columns.row_of(item_id)
        assert with_tag[columns.tag_set[row]] == (not tags.isdisjoint(post.tags))
        assert by_author[columns.author[row]] == (post.author_id in authors)


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.integers(-1, 5), max_size=12))
def test_distinct_rows_keep_their_order(rows: list[int]) -> None:
    assert distinct(rows).tolist() == [row for row in dict.fromkeys(rows) if row >= 0]


def post(number: int, version: int) -> PostFacts:
    name = f"{number % 50}.{version}"
    time = None if (number + version) % 7 == 0 else number
    return PostFacts(f"p{number}", version, f"c{name}", f"a{name}", (name, f"t{number}"), name, time)


def test_readers_never_fail_while_posts_are_written() -> None:
    """A reader sees of each live post values that some version of it had, while columns grow."""
    columns = Columns()

    def read() -> None:
        newest = columns.newest_first()
        assert len(newest) == len(set(newest.tolist()))
        for row in newest[:20].tolist():
            found = columns.facts_of(row)
            assert (found.item_id, found.tags[1]) == (columns.ids[row], f"t{columns.ids[row][1:]}")
        assert columns.sets_with(["t3"]).sum() <= 3
        wanted = [f"p{number}" for number in range(0, 900, 90)]
        assert [columns.ids[row] for row in columns.reserve(wanted).tolist()] == wanted

    with meanwhile(read, read, read):
        for version in range(1, 4):
            for start in range(0, 900, 30):
                columns.put([post(number, version) for number in range(start, start + 30)])
    assert len(columns) == 900
