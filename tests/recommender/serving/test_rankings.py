"""Rankings behind cursors: what one process ranked, another one shows, whatever its rows are."""

import threading
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from tests.recommender.pipeline_inputs import candidates_of, listed

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import feed_pages
from nearfeed_recommender.catalog.columns import Columns
from nearfeed_recommender.config.schema import DEFAULT_FILTERS, LanguageFilter
from nearfeed_recommender.experiments.assignment import Assignment
from nearfeed_recommender.pipeline.candidates import Candidates
from nearfeed_recommender.serving import rankings as rankings_module
from nearfeed_recommender.serving.rankings import ExpiredCursorError, Ranking, Rankings
from nearfeed_recommender.serving.response import Order
from nearfeed_recommender.users.eligibility import Wish
from nearfeed_runtime.sql import read_connection

TTL = 60_000_000
PATIENCE_SECONDS = 30
NAMES = ["near", "new posts", "é"]
IDS = st.text("abé/%", min_size=1, max_size=3)
SCORES = st.dictionaries(IDS, st.floats(-1e300, 1e300), max_size=8)
FOUND_BY = st.dictionaries(st.sampled_from(NAMES), st.lists(IDS, max_size=8))


def ranking_of(request_id: str, candidates: Candidates, user_id: str = "u", **more: Any) -> Ranking:
    fields = {
        "created_at": now_micros(),
        "space": "s1",
        "provider": "p",
        "config_version": 1,
        "failures": {},
        "filters": DEFAULT_FILTERS,
        "wish": Wish(),
    }
    order = Order(candidates, ["close_to_read", "latest", "pick", "new"])
    return Ranking(request_id=request_id, user_id=user_id, order=order, **fields | more)


def some(columns: Columns, *ids: str) -> Candidates:
    return candidates_of(columns, {item: 1 / rank for rank, item in enumerate(ids, 1)}, {}, NAMES)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scores=SCORES,
    found_by=FOUND_BY,
    wish=st.builds(Wish, st.frozensets(IDS), st.none() | st.integers(0, 2**50)),
    failures=st.dictionaries(st.sampled_from(NAMES), st.text(max_size=5)),
    filters=st.lists(st.sampled_from([*DEFAULT_FILTERS, LanguageFilter(language=("en",))]), unique=True),
    arm=st.none()
    | st.builds(
        Assignment, IDS, st.integers(0, 9), IDS, st.integers(0, 3), st.none() | IDS, st.floats(0, 1), IDS
    ),
)
def test_another_process_reads_what_was_ranked(
    world: Any,
    scores: dict[str, float],
    found_by: dict[str, list[str]],
    wish: Wish,
    failures: dict[str, str],
    filters: list[Any],
    arm: Assignment | None,
) -> None:
    mine, theirs = Columns(), Columns()
    theirs.reserve(reversed(["other", *scores]))
    candidates = candidates_of(mine, scores, found_by, NAMES)
    made = ranking_of("r", candidates, wish=wish, failures=failures, filters=tuple(filters), assignment=arm)
    writer = Rankings(world.engine, mine, TTL)
    writer.put(made)
    assert writer.flush() == 1
    assert writer.flush() == 0
    read = Rankings(world.engine, theirs, TTL).get("r", made.created_at)
    for name in ("request_id", "user_id", "created_at", "space", "provider", "config_version"):
        assert getattr(read, name) == getattr(made, name)
    assert (read.wish, read.failures, read.filters, read.assignment) == (wish, failures, tuple(filters), arm)
    assert list(read.order.kinds) == list(made.order.kinds)
    assert listed(theirs, read.order.candidates) == listed(mine, candidates)


def test_a_ranking_is_there_before_it_is_written_and_as_long_as_it_is_kept(
    world: Any,
) -> None:
    columns = Columns()
    rankings = Rankings(world.engine, columns, TTL)
    made = ranking_of("r", some(columns, "p1", "p2"))
    rankings.put(made)
    assert rankings.get("r", made.created_at) is made
    old = ranking_of("old", some(columns, "p1"), created_at=now_micros() - TTL - 1)
    rankings.put(old)
    rankings.flush()
    for each in (rankings, Rankings(world.engine, columns, TTL)):
        with pytest.raises(ExpiredCursorError):
            each.get("old", old.created_at)
        with pytest.raises(ExpiredCursorError):
            each.get("never made", 0)
    assert rankings.get("r", 0) is made


def test_another_process_waits_for_a_ranking_that_was_just_made(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankings_module, "_WAIT_SECONDS", PATIENCE_SECONDS)
    columns = Columns()
    writer, other = Rankings(world.engine, columns, TTL), Rankings(world.engine, columns, TTL)
    made = ranking_of("r", some(columns, "p1"))
    writer.put(made)
    found: list[Ranking] = []
    asking = threading.Thread(target=lambda: found.append(other.get("r", made.created_at)))
    asking.start()
    writer.flush()
    asking.join()
    assert [each.request_id for each in found] == ["r"]


def test_a_ranking_in_the_format_of_another_version_has_expired(world: Any) -> None:
    columns, created_at = Columns(), now_micros()
    written = Rankings(world.engine, columns, TTL)
    written.put(ranking_of("r", some(columns, "a")))
    written.flush()
    with world.engine.begin() as transaction:
        transaction.execute(feed_pages.update().values(page='{"items": ["a"]}'))
    with pytest.raises(ExpiredCursorError):
        Rankings(world.engine, columns, TTL).get("r", created_at - PATIENCE_SECONDS * 1_000_000)


def test_a_loop_writes_what_waits_also_when_it_ends_and_removes_what_is_old(world: Any) -> None:
    columns = Columns()
    rankings = Rankings(world.engine, columns, TTL)
    old = ranking_of("old", some(columns, "p1"), created_at=now_micros() - TTL - 1)
    rankings.put(old)
    rankings.flush()
    stop, running = threading.Event(), Rankings(world.engine, columns, TTL)
    loop = threading.Thread(target=running.run, args=(stop,))
    loop.start()
    running.put(ranking_of("r", some(columns, "p1")))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while kept(world) != ["r"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.put(ranking_of("last", some(columns, "p1")))
    stop.set()
    loop.join()
    assert kept(world) == ["last", "r"]


def test_a_loop_without_work_ends_when_it_is_to_stop(world: Any) -> None:
    stop, rankings = threading.Event(), Rankings(world.engine, Columns(), TTL)
    loop = threading.Thread(target=rankings.run, args=(stop,), daemon=True)
    loop.start()
    stop.set()
    loop.join(PATIENCE_SECONDS)
    assert not loop.is_alive()


def test_where_sql_takes_nothing_the_oldest_are_lost_and_a_user_is_forgotten(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankings_module, "_MOST_WAITING", 2)
    columns = Columns()
    rankings = Rankings(world.engine, columns, TTL, most_bytes=0)
    for number, user_id in enumerate(["a", "b", "c"]):
        rankings.put(ranking_of(f"r{number}", some(columns, "p1"), user_id))
    with pytest.raises(ExpiredCursorError):
        rankings.get("r0", 0)
    rankings.forget("b")
    rankings.flush()
    assert kept(world) == ["r2"]


def kept(world: Any) -> list[str]:
    with read_connection(world.engine) as connection:
        return list(connection.scalars(select(feed_pages.c.request_id).order_by(feed_pages.c.request_id)))
