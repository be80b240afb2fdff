"""What a response asks outside of its process, and what it does not before it is there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, func, select

from nearfeed_contracts.tables import feed_pages, served_requests
from nearfeed_contracts.vector_store import VectorStore
from nearfeed_recommender.app.bootstrap import bootstrap
from nearfeed_runtime.sql import read_connection

_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "BEGIN IMMEDIATE", "COMMIT")
SOURCES = 2  # searches of the provider that is served before a configuration was applied


class Trips:
    """Statements of SQL by their first word, calls of the vector store and of the log, in their order."""

    def __init__(self) -> None:
        self.sql: list[str] = []
        self.store: list[str] = []
        self.log: list[str] = []

    @property
    def writes(self) -> list[str]:
        return [sql for sql in self.sql if sql.startswith(_WRITES)]

    @property
    def reads(self) -> list[str]:
        return [sql for sql in self.sql if sql.startswith("SELECT")]


class Counted:
    """A back end whose calls are noted."""

    def __init__(self, behind: Any, calls: Callable[[], list[str] | None]) -> None:
        self._behind, self._calls = behind, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._behind, name)
        calls = self._calls()
        if callable(found) and calls is not None:
            calls.append(name)
        return found


class Watch:
    """Notes trips while `watched` is entered, of the driver's own statements too."""

    def __init__(self) -> None:
        self.trips: Trips | None = None

    def of(self, name: str) -> Callable[[], list[str] | None]:
        return lambda: getattr(self.trips, name) if self.trips else None

    def on_checkout(self, connection: Any, _record: Any, _proxy: Any) -> None:
        connection.set_trace_callback(self._note)

    def _note(self, sql: str) -> None:
        if self.trips is not None:
            self.trips.sql.append(sql)

    @contextmanager
    def watched(self) -> Iterator[Trips]:
        self.trips = trips = Trips()
        try:
            yield trips
        finally:
            self.trips = None


@pytest.fixture
def database_url() -> str:
    """SQLite, whose driver tells of all statements."""
    return ""


@pytest.fixture
def watch(served: Any) -> Iterator[Watch]:
    """On a service that has nothing in memory yet."""
    found = Watch()
    served.engine.dispose()
    event.listen(served.engine, "checkout", found.on_checkout)
    store: VectorStore = Counted(served.store, found.of("store"))  # type: ignore[assignment]
    log: Any = Counted(served.log, found.of("log"))
    served.service.close()
    served.service = bootstrap(served.settings, engine=served.engine, log=log, store=store)
    served.client = TestClient(served.service.app, raise_server_exceptions=False)
    yield found
    event.remove(served.engine, "checkout", found.on_checkout)


MOST_READS = 2
"""The point read, and a look at the posts once more where the request has taken long."""


def ask(world: Any, path: str = "/v1/feed", **params: Any) -> dict[str, Any]:
    answer = world.client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def feed(world: Any, user_id: str = "u", **params: Any) -> dict[str, Any]:
    return ask(world, user_id=user_id, **params)


def ids_of(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["items"]]


def tell(world: Any, kind: str, *items: str, user_id: str = "u", **more: Any) -> None:
    events = [{"user_id": user_id, "item_id": item, "kind": kind, **more} for item in items]
    assert world.client.post("/v1/events", json={"events": events}).status_code == 202


def count(world: Any) -> tuple[int, int]:
    """Rows of rankings and of the exposure log."""
    with read_connection(world.engine) as connection:
        return tuple(  # type: ignore[return-value]
            connection.scalar(select(func.count()).select_from(table))
            for table in (feed_pages, served_requests)
        )


@pytest.mark.parametrize("knows", ["engagements", "nothing"])
def test_a_first_page_asks_sql_once_where_memory_is_fresh(served: Any, watch: Watch, knows: str) -> None:
    if knows == "engagements":
        tell(served, "read", "p1", "p2", "p3")
        served.settle()
    before = feed(served, limit=5)
    with watch.watched() as trips:
        again = feed(served, limit=5)
    assert ids_of(again) == ids_of(before)
    assert 1 <= len(trips.reads) <= MOST_READS
    assert trips.writes == trips.log == []
    assert len(trips.store) == (SOURCES if knows == "engagements" else 0)
    assert set(trips.store) <= {"search"}


def test_a_later_page_asks_twice(served: Any, watch: Watch) -> None:
    tell(served, "read", "p1", "p2", "p3")
    served.settle()
    whole = ids_of(feed(served, limit=20))
    first = feed(served, limit=5)
    with watch.watched() as trips:
        second = feed(served, limit=5, cursor=first["next_cursor"])
    assert ids_of(first) + ids_of(second) == whole[:10]
    assert len(trips.reads) <= 2
    assert trips.writes == trips.log == trips.store == []


def test_an_event_that_was_accepted_costs_no_more_trips(served: Any, watch: Watch) -> None:
    tell(served, "read", "p1", "p2", "p3")
    served.settle()
    tell(served, "like", "p5")
    feed(served, limit=20)
    tell(served, "like", "p4")
    with watch.watched() as trips:
        page = feed(served, limit=20)
    assert "p4" not in ids_of(page)
    assert 1 <= len(trips.reads) <= MOST_READS
    assert trips.store == ["search"] * SOURCES


def test_a_page_with_sections_asks_sql_twice_and_each_source_once(served: Any, watch: Watch) -> None:
    tell(served, "read", "p1", "p2", "p3")
    served.settle()
    before = ask(served, "/v1/pages/home", user_id="u")
    with watch.watched() as trips:
        after = ask(served, "/v1/pages/home", user_id="u")
    assert after["sections"] == before["sections"]
    assert len(trips.reads) <= 2
    assert trips.writes == trips.log == []
    assert len(trips.store) <= 4


def test_nothing_is_written_before_a_response_is_there(served: Any, watch: Watch) -> None:
    """Not even where nothing is in memory: rankings and exposures wait for their writers."""
    tell(served, "read", "p1")
    served.settle()
    served.service.close()
    served.service = bootstrap(served.settings, engine=served.engine, log=served.log, store=served.store)
    served.client = TestClient(served.service.app, raise_server_exceptions=False)
    before = count(served)
    with watch.watched() as trips:
        first = feed(served, limit=3)
        feed(served, limit=3, cursor=first["next_cursor"])
        ask(served, "/v1/pages/home", user_id="u")
        ask(served, "/v1/items/p1/similar")
    assert trips.reads
    assert trips.writes == trips.log == []
    assert count(served) == before
    served.settle()
    rankings, exposures = count(served)
    assert rankings == before[0] + 1
    assert exposures > before[1] + 1


def test_a_change_costs_the_next_request_alone(served: Any, watch: Watch) -> None:
    """A new post and a new membership are read once, and then all is fresh again."""
    tell(served, "read", "p1", "p2")
    served.settle()
    feed(served)
    served.put_post("p99", "c0")
    served.client.put("/v1/users/u/communities/c0")
    with watch.watched() as first:
        feed(served)
    with watch.watched() as second:
        feed(served)
    assert len(first.reads) > MOST_READS
    assert 1 <= len(second.reads) <= MOST_READS
