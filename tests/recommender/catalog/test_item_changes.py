"""Changes of posts are numbered in the order of their commits."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, select

from nearfeed_contracts.tables import items
from nearfeed_recommender.catalog.writes import ItemDraft, delete_items, put_items
from nearfeed_recommender.exposure_log.outcomes import AttributionSettings
from nearfeed_recommender.users.erasure import erase_user
from nearfeed_runtime.changes import lock_changes, next_change
from nearfeed_runtime.sql import committed, read_connection

WRITERS, TURNS, POSTS = 4, 25, 8


def draft(item_id: str, title: str = "title", author: str = "author") -> ItemDraft:
    return ItemDraft(item_id=item_id, community_id="c", author_id=author, title=title)


def put(engine: Engine, *drafts: ItemDraft) -> None:
    committed(engine, lambda t: put_items(t, drafts, create_communities=True))


def changes(engine: Engine) -> dict[str, int]:
    with read_connection(engine) as connection:
        rows = connection.execute(select(items.c.item_id, items.c.change_id))
        return {row.item_id: row.change_id for row in rows}


class Follower:
    """Reads what has changed since the highest number that it has seen."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.since, self.seen = engine, 0, dict[str, tuple[int, bool]]()

    def look(self) -> None:
        query = select(items.c.item_id, items.c.version, items.c.deleted, items.c.change_id)
        with read_connection(self.engine) as connection:
            rows = connection.execute(query.where(items.c.change_id > self.since)).all()
        for row in rows:
            self.seen[row.item_id] = (row.version, row.deleted)
            self.since = max(self.since, row.change_id)

    def follow(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.look()


def write(engine: Engine, writer: int) -> None:
    """Puts and deletes posts of its own and posts that all writers share."""
    for turn in range(TURNS):
        shared = [f"p{(turn + number) % POSTS}" for number in range(3)]
        put(engine, draft(f"w{writer}-{turn}"), *(draft(each, f"{writer} {turn}") for each in shared))
        if turn % 3 == writer % 3:
            committed(engine, partial(delete_items, item_ids=shared[:1]))


def test_a_follower_misses_no_change_of_concurrent_writers(world: Any) -> None:
    follower, stop = Follower(world.engine), threading.Event()
    with ThreadPoolExecutor(WRITERS + 1) as threads:
        following = threads.submit(follower.follow, stop)
        writing = [threads.submit(write, world.engine, number) for number in range(WRITERS)]
        try:
            for each in writing:
                each.result(120)
        finally:
            stop.set()
        following.result(30)
    follower.look()
    with read_connection(world.engine) as connection:
        rows = connection.execute(select(items.c.item_id, items.c.version, items.c.deleted)).all()
    assert follower.seen == {row.item_id: (row.version, row.deleted) for row in rows}
    assert len(rows) == WRITERS * TURNS + POSTS


def test_a_number_is_taken_only_after_a_lower_one_is_committed(world: Any) -> None:
    """What is committed first has the lower number, whoever began first."""
    taken, go = threading.Event(), threading.Event()

    def slow(transaction: Connection) -> int:
        number = next_change(transaction, "items")
        taken.set()
        go.wait(30)
        return number

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(committed, world.engine, slow)
        assert taken.wait(30)
        second = threads.submit(committed, world.engine, lambda t: next_change(t, "items"))
        go.set()
        assert second.result(30) == first.result(30) + 1


def test_one_transaction_gives_all_its_posts_one_number(world: Any) -> None:
    put(world.engine, draft("a"), draft("b"))
    put(world.engine, draft("a", "other"), draft("b"), draft("c"))
    found = changes(world.engine)
    assert found["a"] == found["c"] == found["b"] + 1
    committed(world.engine, lambda t: delete_items(t, ["a", "b"]))
    after = changes(world.engine)
    assert after["a"] == after["b"] == found["a"] + 1
    assert after["c"] == found["c"]


def test_what_changes_nothing_takes_no_number(world: Any) -> None:
    put(world.engine, draft("a"), draft("b"))
    committed(world.engine, lambda t: delete_items(t, ["b"]))
    before = changes(world.engine)
    put(world.engine, draft("a"))
    committed(world.engine, lambda t: delete_items(t, ["b"]))
    assert changes(world.engine) == before
    assert committed(world.engine, lambda t: next_change(t, "items")) == before["b"] + 1


def test_an_erasure_gives_own_posts_one_number(world: Any) -> None:
    for own_posts in ("anonymise", "delete"):
        mine = [f"{own_posts}-{number}" for number in range(3)]
        put(world.engine, *(draft(each, author="u") for each in mine), draft("other"))
        before = changes(world.engine)
        joining = AttributionSettings(b"secret", 1)
        committed(world.engine, partial(erase_user, joining=joining, user_id="u", own_posts=own_posts))
        after = changes(world.engine)
        assert {after[each] for each in mine} == {max(before.values()) + 1}
        assert after["other"] == before["other"]


def test_numbers_are_taken_in_blocks_by_name(world: Any) -> None:
    def take(name: str, count: int) -> Callable[[Connection], int]:
        return lambda transaction: next_change(transaction, name, count)

    assert committed(world.engine, take("x", 3)) == 1
    assert committed(world.engine, take("x", 2)) == 4
    assert committed(world.engine, take("y", 1)) == 1
    committed(world.engine, lambda t: lock_changes(t, "x"))
    assert committed(world.engine, take("x", 1)) == 6
