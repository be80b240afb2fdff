"""Sources of a response: asked once, at the same time, each within its deadline, each failing alone."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recommender.users.audiences import empty_state

from nearfeed_contracts.vector_store import StoreUnavailableError
from nearfeed_recommender.catalog.columns import Columns
from nearfeed_recommender.config.schema import Filter
from nearfeed_recommender.infra.threads import Threads
from nearfeed_recommender.pipeline.candidates import Found
from nearfeed_recommender.pipeline.fetch import Fetches, SourceStage
from nearfeed_recommender.pipeline.query import Query
from nearfeed_recommender.users.eligibility import Eligibility, Wish

NO_FILTERS: tuple[Filter, ...] = ()
FOUND = Found(np.arange(10, dtype=np.int32), 1 / np.arange(1, 11))
LONG_SECONDS = 60.0
SHORT_SECONDS = 0.05


class Asked:
    """A source that counts how often it is asked, and does something else first."""

    def __init__(self, first: Callable[[], object] = lambda: None, *, waits: bool = True) -> None:
        self._first, self._waits = first, waits
        self.times = 0
        self.thread = 0

    @property
    def waits(self) -> bool:
        return self._waits

    def fetch(self, query: Query, eligible: Eligibility) -> Found:
        self.times += 1
        self.thread = threading.get_ident()
        self._first()
        return FOUND


def stage(
    name: str, source: Any, *, key: object = None, limit: int = 10, seconds: float = LONG_SECONDS
) -> SourceStage:
    return SourceStage(name, "latest", source, key or name, limit, seconds, source.waits)  # type: ignore[arg-type]


def fetches(most: int = 8, due: float = math.inf) -> Fetches:
    query = Query(empty_state(Columns()), Wish(), None, 0)
    return Fetches(query, Threads("sources", most), due)


def failing(error: Exception) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


@pytest.fixture
def hanging() -> Iterator[Callable[[], object]]:
    """Work that ends with the test."""
    end = threading.Event()
    yield lambda: end.wait(LONG_SECONDS)
    end.set()


@pytest.mark.parametrize("waits", [True, False])
def test_sources_are_in_the_order_of_the_provider_each_up_to_its_limit(waits: bool) -> None:
    stages = [stage(f"s{number}", Asked(waits=waits), limit=number + 1) for number in range(4)]
    collected = fetches().collect("p", stages, NO_FILTERS)
    assert list(collected.found) == ["s0", "s1", "s2", "s3"]
    assert [len(each.rows) for each in collected.found.values()] == [1, 2, 3, 4]
    assert [len(each.scores) for each in collected.found.values()] == [1, 2, 3, 4]
    assert collected.failures == {}


def test_sources_that_wait_are_asked_at_the_same_time() -> None:
    """Each goes on only when all have begun, and one that does not wait is asked meanwhile."""
    together = threading.Barrier(4)
    stages = [stage(f"s{number}", Asked(lambda: together.wait(LONG_SECONDS))) for number in range(3)]
    here = Asked(lambda: together.wait(LONG_SECONDS), waits=False)
    collected = fetches().collect("p", [*stages, stage("here", here)], NO_FILTERS)
    assert set(collected.found) == {"s0", "s1", "s2", "here"}
    assert here.thread == threading.get_ident()


@settings(max_examples=20, deadline=None)
@given(
    keys=st.lists(st.sampled_from("abc"), min_size=1, max_size=5),
    sections=st.lists(st.sampled_from([NO_FILTERS, ("seen",), ("own",)]), min_size=1, max_size=4),
    waits=st.booleans(),
)
def test_a_source_is_asked_once_for_each_set_of_filters(
    keys: Sequence[str], sections: Sequence[tuple[Filter, ...]], waits: bool
) -> None:
    sources = {key: Asked(waits=waits) for key in keys}
    stages = [stage(f"{key}{place}", sources[key], key=key) for place, key in enumerate(keys)]
    asked = fetches()
    for filters in sections:
        asked.start(stages, filters)
    for filters in sections:
        assert len(asked.collect("p", stages, filters).found) == len(stages)
    assert {source.times for source in sources.values()} == {len(set(sections))}


def test_a_hanging_source_is_late_and_holds_nothing_else(hanging: Callable[[], object]) -> None:
    stages = [
        stage("hangs", Asked(hanging), seconds=SHORT_SECONDS),
        stage("waits", Asked()),
        stage("here", Asked(waits=False)),
    ]
    collected = fetches().collect("p", stages, NO_FILTERS)
    assert set(collected.found) == {"waits", "here"}
    assert collected.failures == {"hangs": "it has not answered within 50 ms"}


def test_a_late_source_is_not_waited_for_twice(hanging: Callable[[], object]) -> None:
    """Sections that come later find it late at once, whatever waits they would have."""
    asked = fetches()
    source = Asked(hanging)
    first = asked.collect("p", [stage("hangs", source, key="k", seconds=SHORT_SECONDS)], NO_FILTERS)
    second = asked.collect("q", [stage("hangs", source, key="k", seconds=SHORT_SECONDS)], NO_FILTERS)
    assert first.failures == second.failures == {"hangs": "it has not answered within 50 ms"}
    assert source.times == 1


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StoreUnavailableError("the store is away."), "the store is away"),
        (RuntimeError("a password"), "the source latest has failed"),
    ],
)
def test_a_failing_source_is_named_with_its_reason_alone(error: Exception, reason: str, waits: bool) -> None:
    stages = [stage("fails", Asked(failing(error), waits=waits)), stage("answers", Asked())]
    collected = fetches().collect("p", stages, NO_FILTERS)
    assert set(collected.found) == {"answers"}
    assert collected.failures.keys() == {"fails"}
    assert collected.failures["fails"].startswith(reason)
    assert "password" not in collected.failures["fails"]


def test_where_all_threads_are_at_work_the_other_sources_answer(hanging: Callable[[], object]) -> None:
    """The response does without those that got no thread, and says so."""
    busy = Threads("sources", 1)
    for _ in range(2):
        busy.submit(hanging)
    asked = Fetches(Query(empty_state(Columns()), Wish(), None, 0), busy)
    stages = [stage("waits", Asked()), stage("here", Asked(waits=False))]
    asked.start(stages, NO_FILTERS)
    collected = asked.collect("p", stages, NO_FILTERS)
    assert set(collected.found) == {"here"}
    assert collected.failures.keys() == {"waits"}
    assert "try again" in collected.failures["waits"]


def test_a_source_that_has_not_begun_by_its_deadline_is_late_for_every_section(
    hanging: Callable[[], object],
) -> None:
    threads = Threads("sources", 1)
    threads.submit(hanging)
    asked = Fetches(Query(empty_state(Columns()), Wish(), None, 0), threads)
    source = Asked()
    soon = stage("soon", source, key="k", seconds=SHORT_SECONDS)
    later = stage("later", source, key="k", seconds=2 * SHORT_SECONDS)
    assert asked.collect("p", [soon], NO_FILTERS).failures == {"soon": "it has not answered within 50 ms"}
    assert asked.collect("p", [later], NO_FILTERS).failures == {"later": "it has not answered within 100 ms"}


def test_no_source_is_waited_for_after_the_response_is_due(hanging: Callable[[], object]) -> None:
    """A provider and then its fallback: together they take no longer than one may."""
    began = time.monotonic()
    asked = fetches(due=began + 0.2)
    first = asked.collect("p", [stage("slow", Asked(hanging))], NO_FILTERS)
    here = Asked(waits=False)
    second = asked.collect("q", [stage("slow too", Asked(hanging)), stage("here", here)], NO_FILTERS)
    assert time.monotonic() - began < LONG_SECONDS / 2
    assert list(first.failures) == ["slow"]
    assert (list(second.found), list(second.failures)) == (["here"], ["slow too"])
