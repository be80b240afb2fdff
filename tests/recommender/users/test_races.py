"""Two transactions at once, in the order that would do harm."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from nearfeed_contracts.events import Interaction, Item
from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.tables import items, outbox
from nearfeed_contracts.topics import record_of
from nearfeed_recommender.catalog import writes as catalogue
from nearfeed_recommender.catalog.writes import ItemDraft, put_items
from nearfeed_recommender.users import user_vectors
from nearfeed_recommender.users.user_vectors import mark_stale, stored_vector
from nearfeed_runtime.sql import committed, read_connection

BASE = 1_700_000_000_000_000
pytestmark = pytest.mark.parametrize(
    "database_url", [pytest.param("mariadb", marks=pytest.mark.server)], indirect=True
)


def told(served: Any, *item_ids: str) -> None:
    served.log.append(
        [
            record_of(Interaction(user_id="u", item_id=item, kind="read", occurred_at=from_micros(BASE)))
            for item in item_ids
        ]
    )


def vector_of(served: Any) -> np.ndarray | None:
    with read_connection(served.engine) as connection:
        return stored_vector(connection, "s1", "u")


@contextmanager
def stopped_after_computing(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Holds the first transaction that computes a vector before it stores it: (it is there, let it go)."""
    there, go = threading.Event(), threading.Event()
    compute = user_vectors.load_profiles

    def compute_and_wait(*arguments: Any) -> Any:
        profiles = list(compute(*arguments))
        if not there.is_set():
            there.set()
            go.wait(30)
        return profiles

    monkeypatch.setattr(user_vectors, "load_profiles", compute_and_wait)
    try:
        yield there, go
    finally:
        go.set()


def test_a_reader_marked_while_their_vector_is_computed_stays_marked(
    served: Any, random_vector: Callable[[int], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    told(served, "p1")
    served.settle()
    told(served, "p1")
    with ThreadPoolExecutor(2) as threads, stopped_after_computing(monkeypatch) as (there, go):
        consumer = threads.submit(served.service.consumers[0].run_once, 5)
        assert there.wait(30)
        served.set_vector("s1", "p1", random_vector(99), version=2)
        marking = threads.submit(
            committed, served.engine, lambda transaction: mark_stale(transaction, "s1", ["u"])
        )
        with pytest.raises(TimeoutError):
            marking.result(0.5)
        go.set()
        consumer.result(30)
        marking.result(30)
    assert vector_of(served) is None
    served.settle()
    assert vector_of(served) == pytest.approx(random_vector(99), abs=1e-5)


def test_a_reading_that_is_not_committed_when_its_context_changes_is_marked(
    served: Any, random_vector: Callable[[int], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    told(served, "p1")
    with ThreadPoolExecutor(2) as threads, stopped_after_computing(monkeypatch) as (there, go):
        consumer = threads.submit(served.service.consumers[0].run_once, 5)
        assert there.wait(30)
        served.set_vector("s1", "p1", random_vector(99), version=2)
        following = threads.submit(served.service.pumps[-1])
        with pytest.raises(TimeoutError):
            following.result(0.5)
        go.set()
        consumer.result(30)
        following.result(30)
    served.settle()
    assert vector_of(served) == pytest.approx(random_vector(99), abs=1e-5)


def test_two_who_make_the_same_post_give_it_two_versions(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, go = threading.Event(), threading.Event()
    store = catalogue.upsert

    def wait_and_store(*arguments: Any) -> None:
        if not there.is_set():
            there.set()
            go.wait(30)
        store(*arguments)

    monkeypatch.setattr(catalogue, "upsert", wait_and_store)

    def make(title: str) -> list[Item]:
        draft = ItemDraft(item_id="new", community_id="c0", author_id="a", title=title)
        return committed(
            served.engine, lambda transaction: put_items(transaction, [draft], create_communities=False)
        )

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(make, "first")
        assert there.wait(30)
        second = threads.submit(make, "second")
        with pytest.raises(TimeoutError):
            second.result(0.5)
        go.set()
        (one,), (other,) = first.result(30), second.result(30)
        assert one.version < other.version
    with read_connection(served.engine) as connection:
        assert connection.execute(
            select(items.c.version, items.c.title).where(items.c.item_id == "new")
        ).all() == [(other.version, "second")]
        assert len(connection.execute(select(outbox).where(outbox.c.key == "new")).all()) == 2
