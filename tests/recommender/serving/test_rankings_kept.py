"""Rankings behind cursors: in memory, in SQL, on their way between, and when SQL does not take them."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from sqlalchemy import Engine, event, func, select, update
from sqlalchemy.exc import OperationalError
from tests.recommender.threaded import at_once

from nearfeed_backends.opening import open_database
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import feed_pages
from nearfeed_recommender.catalog.columns import Columns
from nearfeed_recommender.config.schema import Filter, LanguageFilter
from nearfeed_recommender.experiments.assignment import Assignment
from nearfeed_recommender.pipeline.candidates import NEW, Candidates, Mark, Trace
from nearfeed_recommender.serving import rankings as rankings_module
from nearfeed_recommender.serving.rankings import ExpiredCursorError, Ranking, Rankings
from nearfeed_recommender.serving.response import Order
from nearfeed_recommender.users.eligibility import Wish
from nearfeed_runtime.sql import read_connection, write_transaction

TTL_MICROS = 60_000_000
NAMES = ("near", "walk")
numbers = itertools.count()
ids = itertools.count()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path_factory.mktemp('rankings')}/nearfeed.db")
    yield engine
    engine.dispose()


def kept_in(engine: Engine, columns: Columns | None = None, **more: Any) -> Rankings:
    return Rankings(engine, Columns() if columns is None else columns, TTL_MICROS, **more)


def candidates_of(
    columns: Columns, posts: Sequence[int], scores: Sequence[float], *, explained: bool = False
) -> Candidates:
    """Each post was found by one of two sources or by both, by its number."""
    rows = columns.reserve(f"p{number}" for number in posts)
    count = len(posts)
    ranks = np.array([[n + 1 if n % 3 != source else 0 for n in posts] for source in range(2)], np.int32)
    ranks = ranks.reshape(2, count)
    values = np.array(scores, np.float64)
    trace = Trace() if explained else None
    for row, score in zip(rows.tolist(), values.tolist(), strict=True):
        if trace:
            trace.add(row, Mark("source:near", row + 1, score))
            trace.add(row, Mark("blend", 1, -score))
    source = np.array([n % 3 for n in posts], np.int32)
    source_scores = np.where(ranks > 0, values[None] * np.array([[1.0], [0.1]]), 0.0)
    return Candidates(rows, values, source, ranks, source_scores, (*NAMES, NEW), trace)


def ranking_of(candidates: Candidates, **more: Any) -> Ranking:
    made = Ranking(
        request_id=f"r{next(numbers)}",
        user_id="u",
        created_at=now_micros(),
        space="s1",
        provider="personal",
        config_version=3,
        failures={},
        filters=("membership", "seen"),
        wish=Wish(),
        order=Order(candidates, ["close_to_read", "read_by_others", "new"]),
    )
    return replace(made, **more)


def a_ranking(columns: Columns, posts: int = 5, **more: Any) -> Ranking:
    return ranking_of(candidates_of(columns, range(posts), [1 / (1 + n) for n in range(posts)]), **more)


def described(ranking: Ranking, columns: Columns) -> dict[str, Any]:
    """All of a ranking, with posts by their ids."""
    candidates = ranking.order.candidates
    rows = candidates.rows.tolist()
    trace = candidates.trace
    return {
        **{name: value for name, value in vars(ranking).items() if name != "order"},
        "items": [columns.ids[row] for row in rows],
        "scores": candidates.scores.tolist(),
        "source": candidates.source.tolist(),
        "ranks": candidates.ranks.tolist(),
        "source_scores": candidates.source_scores.tolist(),
        "types": [each.dtype for each in (candidates.scores, candidates.ranks, candidates.source_scores)],
        "names": list(candidates.names),
        "kinds": list(ranking.order.kinds),
        "marks": [ranking.order.marks_of(place) for place in range(len(rows))],
        "trace": trace and [trace.of(row) for row in rows],
    }


scores = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 0.1, 1e-9, 0.5])
posts = st.lists(st.tuples(st.integers(0, 300), scores), max_size=30, unique_by=lambda each: each[0])
filters = st.lists(
    st.sampled_from(["membership", "seen", LanguageFilter(language=("en", "de-AT"))]),
    unique_by=str,
    max_size=3,
)
assignments = st.none() | st.builds(
    Assignment,
    experiment=st.just("e"),
    number=st.integers(0, 9),
    arm=st.just("b"),
    index=st.integers(0, 3),
    provider=st.none() | st.just("other"),
    propensity=st.floats(0.01, 1),
    unit=st.just("u"),
    readings=st.integers(0, 512),
)
wishes = st.builds(
    Wish,
    communities=st.frozensets(st.sampled_from(["c0", "c1"])),
    published_after=st.none() | st.integers(0, 2**50),
)


@settings(max_examples=60, deadline=None)
@given(
    found=posts, explained=st.booleans(), filters=filters, assignment=assignments, wish=wishes, data=st.data()
)
def test_another_process_reads_what_memory_has(
    engine: Engine,
    found: list[tuple[int, float]],
    explained: bool,
    filters: list[Filter],
    assignment: Assignment | None,
    wish: Wish,
    data: st.DataObject,
) -> None:
    columns, elsewhere = Columns(), Columns()
    elsewhere.reserve([f"p{number}" for number in range(300, -1, -7)])
    candidates = candidates_of(
        columns, [number for number, _ in found], [score for _, score in found], explained=explained
    )
    ranking = ranking_of(
        candidates,
        filters=tuple(filters),
        assignment=assignment,
        wish=wish,
        space=data.draw(st.none() | st.just("s1")),
        failures=data.draw(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=5))),
    )
    here, there = kept_in(engine, columns), kept_in(engine, elsewhere)
    here.put(ranking)
    assert here.get(ranking.request_id, 0) is ranking
    assert here.flush() == 1
    read = there.get(ranking.request_id, 0)
    assert described(read, elsewhere) == described(ranking, columns)


def test_a_cursor_is_answered_from_memory_and_waits_elsewhere_until_the_commit(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankings_module, "_WAIT_SECONDS", 60.0)
    columns = Columns()
    here, there = kept_in(engine, columns), kept_in(engine, columns)
    ranking = a_ranking(columns)
    looked = threading.Event()
    read = there._read

    def looking(request_id: str) -> Ranking | None:
        found = read(request_id)
        looked.set()
        return found

    monkeypatch.setattr(there, "_read", looking)
    here.put(ranking)
    answers: list[Ranking] = []

    def commit() -> None:
        assert looked.wait(60)
        assert here.get(ranking.request_id, ranking.created_at) is ranking
        assert here.flush() == 1

    at_once(lambda: answers.append(there.get(ranking.request_id, now_micros())), commit)
    assert described(answers[0], columns) == described(ranking, columns)


@pytest.mark.parametrize("served_at", [0, None])
def test_a_cursor_that_nobody_has_is_expired(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, served_at: int | None
) -> None:
    """Also where it is so new that it may come, which is waited for once."""
    monkeypatch.setattr(rankings_module, "_WAIT_SECONDS", 0.05)
    with pytest.raises(ExpiredCursorError):
        kept_in(engine).get("nobody's", now_micros() if served_at is None else served_at)


@pytest.mark.parametrize("flushed", [True, False])
def test_a_ranking_ends_with_its_time(engine: Engine, flushed: bool) -> None:
    columns = Columns()
    here = kept_in(engine, columns)
    old = a_ranking(columns, created_at=now_micros() - TTL_MICROS - 1)
    here.put(old)
    if flushed:
        here.flush()
    for some in (here, kept_in(engine, columns)):
        with pytest.raises(ExpiredCursorError):
            some.get(old.request_id, old.created_at)


def in_sql(engine: Engine, *rankings: Ranking) -> int:
    some = feed_pages.c.request_id.in_([ranking.request_id for ranking in rankings])
    with read_connection(engine) as connection:
        return connection.scalar(select(func.count()).select_from(feed_pages).where(some)) or 0


def test_what_is_over_is_removed_from_sql(engine: Engine) -> None:
    columns = Columns()
    here = kept_in(engine, columns)
    old, new = a_ranking(columns, created_at=now_micros() - TTL_MICROS - 1), a_ranking(columns)
    here.put(old)
    here.put(new)
    here.flush()
    here._prune_if_due()
    assert (in_sql(engine, old), in_sql(engine, new)) == (0, 1)


def test_memory_is_bounded_and_what_it_lacks_is_read(engine: Engine) -> None:
    columns = Columns()
    small = a_ranking(columns).bytes
    here = kept_in(engine, columns, most_bytes=3 * small)
    some = [a_ranking(columns) for _ in range(10)]
    large = a_ranking(columns, posts=500)
    for ranking in (*some, large):
        here.put(ranking)
        assert sum(each.bytes for each in here._kept.values()) <= 3 * small
    for ranking in (*some, large):
        assert here.get(ranking.request_id, 0) is ranking
    assert here.flush() == 11
    for ranking in (*some, large):
        assert described(here.get(ranking.request_id, 0), columns) == described(ranking, columns)


class Away:
    """Makes writes of an engine fail until it is called."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.refused = threading.Event()
        event.listen(engine, "begin", self._refuse)

    def _refuse(self, _connection: Any) -> None:
        self.refused.set()
        raise OperationalError("INSERT", {}, Exception("the disk is full"))

    def back(self) -> None:
        event.remove(self._engine, "begin", self._refuse)


def lost() -> float:
    return REGISTRY.get_sample_value("nearfeed_rankings_lost_total") or 0.0


def test_what_sql_does_not_take_waits_and_the_oldest_is_lost_beyond_the_limit(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankings_module, "_MOST_WAITING", 4)
    columns = Columns()
    here = kept_in(engine, columns, most_bytes=0)
    some = [a_ranking(columns) for _ in range(7)]
    away, before = Away(engine), lost()
    for ranking in some:
        here.put(ranking)
        with pytest.raises(OperationalError):
            here.flush()
    away.back()
    assert lost() - before == 3
    for ranking in some[3:]:
        assert here.get(ranking.request_id, 0) is ranking
    with pytest.raises(ExpiredCursorError):
        here.get(some[0].request_id, 0)
    assert here.flush() == 4
    assert here.flush() == 0
    assert (in_sql(engine, *some[:3]), in_sql(engine, *some[3:])) == (0, 4)


def test_the_writer_goes_on_when_sql_is_back_and_writes_the_rest_at_the_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankings_module, "_RETRY_SECONDS", 0.01)
    columns = Columns()
    here = kept_in(engine, columns)
    first, last = a_ranking(columns), a_ranking(columns)
    away, stop = Away(engine), threading.Event()
    written = threading.Event()
    flush = here.flush

    def flushing() -> int:
        count = flush()
        if count:
            written.set()
        return count

    monkeypatch.setattr(here, "flush", flushing)
    writer = threading.Thread(target=here.run, args=(stop,))
    here.put(first)
    writer.start()
    assert away.refused.wait(60)
    away.back()
    assert written.wait(60)
    assert in_sql(engine, first) == 1
    here.put(last)
    stop.set()
    writer.join(60)
    assert in_sql(engine, first, last) == 2


class Waited(threading.Event):
    """An event that says when it is waited for."""

    def __init__(self, entered: threading.Event) -> None:
        super().__init__()
        self._entered = entered

    def wait(self, timeout: float | None = None) -> bool:
        self._entered.set()
        return super().wait(timeout)


def test_the_writer_ends_when_it_is_told_though_nothing_wakes_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankings_module, "_PRUNE_SECONDS", 3_600.0)
    here = kept_in(engine)
    entered = threading.Event()
    stop = Waited(entered)
    writer = threading.Thread(target=here.run, args=(stop,), daemon=True)
    writer.start()
    assert entered.wait(60)
    stop.set()
    writer.join(20)
    assert not writer.is_alive()


def test_a_ranking_with_a_score_that_is_no_number_keeps_none_from_being_written(engine: Engine) -> None:
    """Models of others may give such scores."""
    columns = Columns()
    here, there = kept_in(engine, columns), kept_in(engine, columns)
    odd = ranking_of(candidates_of(columns, [1, 2, 3], [np.nan, np.inf, 1.0]))
    after = a_ranking(columns)
    here.put(odd)
    here.put(after)
    assert here.flush() == 2
    read = there.get(odd.request_id, 0).order.candidates
    np.testing.assert_array_equal(read.scores, odd.order.candidates.scores)
    assert described(there.get(after.request_id, 0), columns) == described(after, columns)


def test_rankings_of_another_user_are_left(engine: Engine) -> None:
    columns = Columns()
    here = kept_in(engine, columns)
    mine, other = a_ranking(columns, user_id="mine"), a_ranking(columns, user_id="other")
    here.put(mine)
    here.put(other)
    here.forget("mine")
    assert here.get(other.request_id, 0) is other
    with pytest.raises(ExpiredCursorError):
        here.get(mine.request_id, 0)
    assert here.flush() == 1
    with write_transaction(engine) as transaction:
        transaction.execute(update(feed_pages).where(feed_pages.c.user_id == "mine").values(created_at=0))
    assert in_sql(engine, mine) == 0
