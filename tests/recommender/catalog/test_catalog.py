"""The columns are what SQL has, whatever was written since, by whom, and whenever they were brought up."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select
from tests.recommender.threaded import at_once, meanwhile

from nearfeed_backends.opening import open_database
from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.tables import items
from nearfeed_recommender.catalog.catalog import Catalog
from nearfeed_recommender.catalog.columns import PostFacts
from nearfeed_recommender.catalog.writes import ItemDraft, UnknownItemError, delete_items, put_items
from nearfeed_runtime.sql import committed, read_connection, write_transaction

IDS = [f"p{number}" for number in range(8)]
START = from_micros(1_790_000_000_000_000)

drafts = st.builds(
    lambda item, community, author, tags, language, day: ItemDraft(
        item_id=item,
        community_id=community,
        author_id=author,
        title="A post",
        tags=tuple(tags),
        language=language,
        published_at=START + timedelta(days=day),
    ),
    st.sampled_from(IDS),
    st.sampled_from(["c0", "c1"]),
    st.sampled_from(["a0", "a1"]),
    st.lists(st.sampled_from(["red", "green"]), max_size=2, unique=True),
    st.sampled_from([None, "en", "de-AT"]),
    st.integers(0, 3),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(drafts, min_size=1, max_size=3)),
        st.tuples(st.just("undone"), st.lists(drafts, min_size=1, max_size=2)),
        st.tuples(st.just("delete"), st.lists(st.sampled_from(IDS), min_size=1, max_size=2)),
        st.tuples(st.just("follow"), st.integers(0, 1)),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path_factory.mktemp('catalog')}/nearfeed.db")
    yield engine
    engine.dispose()


def load(engine: Engine) -> Catalog:
    """A catalog of what there is now."""
    catalog = Catalog(engine)
    catalog.follow()
    return catalog


def live_in_sql(engine: Engine) -> dict[str, PostFacts]:
    with read_connection(engine) as connection:
        rows = connection.execute(select(items).where(items.c.deleted.is_(False))).all()
    return {
        row.item_id: PostFacts(
            row.item_id,
            row.version,
            row.community_id,
            row.author_id,
            tuple(orjson.loads(row.tags)),
            row.language,
            row.published_at,
        )
        for row in rows
    }


def live_in(catalog: Catalog) -> dict[str, PostFacts]:
    columns = catalog.columns
    return {columns.ids[row]: columns.facts_of(row) for row in columns.newest_first().tolist()}


def delete(engine: Engine, ids: list[str]) -> None:
    """What is known of them; an id that never was is refused as a whole."""
    for item_id in ids:
        try:
            committed(engine, lambda transaction, each=item_id: delete_items(transaction, [each]))
        except UnknownItemError:
            assert item_id not in live_in_sql(engine)


class UndoneError(Exception):
    pass


def put(engine: Engine, posts: list[ItemDraft]) -> None:
    committed(engine, lambda transaction: put_items(transaction, posts, create_communities=True))


def put_and_undo(engine: Engine, posts: list[ItemDraft]) -> None:
    with suppress(UndoneError), write_transaction(engine) as transaction:
        put_items(transaction, posts, create_communities=True)
        raise UndoneError


@settings(max_examples=25, deadline=None)
@given(told=steps)
def test_columns_equal_sql_after_any_writes(engine: Engine, told: list[tuple[str, Any]]) -> None:
    followers = [Catalog(engine), load(engine)]
    for step, what in told:
        if step == "put":
            put(engine, what)
        elif step == "undone":
            put_and_undo(engine, what)
        elif step == "delete":
            delete(engine, what)
        else:
            followers[what].follow()
            assert live_in(followers[what]) == live_in_sql(engine)
    for catalog in followers:
        catalog.follow()
    expected = live_in_sql(engine)
    assert [live_in(catalog) for catalog in (*followers, load(engine))] == [expected] * 3


def write_some(engine: Engine, writer: str) -> None:
    """Puts four posts again and again, and takes them down at times."""
    for turn in range(15):
        draft = ItemDraft(
            item_id=f"{writer}.{turn % 4}",
            community_id="c0",
            author_id=f"a{turn}",
            title=f"{turn}",
            published_at=START + timedelta(minutes=turn),
        )
        put(engine, [draft])
        if turn % 5 == 4:
            delete(engine, [draft.item_id])


def test_nothing_of_writers_at_the_same_time_is_missed(engine: Engine) -> None:
    """Posts come from several threads while two others follow; what is committed is found in the end."""
    catalog = Catalog(engine)

    def keep_following() -> None:
        before = catalog.change_id
        catalog.follow()
        assert catalog.change_id >= before

    with meanwhile(keep_following, keep_following):
        at_once(*(partial(write_some, engine, f"w{number}") for number in range(3)))
    catalog.follow()
    assert live_in(catalog) == live_in_sql(engine)
    assert {f"w{number}.{turn}" for number in range(3) for turn in (0, 1, 3)} <= live_in(catalog).keys()


def test_a_write_that_is_not_committed_is_not_seen(engine: Engine) -> None:
    catalog = load(engine)
    before = live_in(catalog)
    draft = ItemDraft(item_id="late", community_id="c0", author_id="a0", title="Late")
    with write_transaction(engine) as transaction:
        put_items(transaction, [draft], create_communities=True)
        catalog.follow()
        assert live_in(catalog) == before
    catalog.follow()
    assert live_in(catalog).keys() - before.keys() == {"late"}
