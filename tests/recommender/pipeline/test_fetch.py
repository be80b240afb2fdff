"""Sources that are asked at once: each fails alone, also where no thread is free for it."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from tests.recommender.pipeline_inputs import columns_of, post, query_of

from nearfeed_recommender.infra.threads import Threads
from nearfeed_recommender.pipeline.candidates import Found
from nearfeed_recommender.pipeline.fetch import Fetches, SourceStage
from nearfeed_recommender.pipeline.query import Query
from nearfeed_recommender.users.eligibility import Eligibility

FOUND = Found(np.array([0], np.int32), np.array([1.0]))


class Answering:
    """A source that finds the first post, and counts how often it was asked."""

    waits = False
    asked = 0

    def fetch(self, query: Query, eligible: Eligibility) -> Found:
        self.asked += 1
        return FOUND


class Silent(Answering):
    waits = True

    def __init__(self, over: threading.Event) -> None:
        self._over = over

    def fetch(self, query: Query, eligible: Eligibility) -> Found:
        self._over.wait(60)
        return FOUND


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Ends the silence of sources."""
    event = threading.Event()
    yield event
    event.set()


def stage(name: str, source: Answering, deadline_ms: float = 60_000) -> SourceStage:
    return SourceStage(name, "test", source, name, 10, deadline_ms / 1_000, source.waits)


def fetches(threads: Threads) -> Fetches:
    return Fetches(query_of(columns_of([post("p0")])), threads)


def test_a_late_source_fails_alone_and_each_is_asked_once(over: threading.Event) -> None:
    near, late = Answering(), Silent(over)
    asked = fetches(Threads("test", 2))
    for _ in range(2):
        found = asked.collect("provider", [stage("near", near), stage("late", late, 10)], ())
        assert list(found.found) == ["near"]
        assert found.failures == {"late": "it has not answered within 10 ms"}
    assert near.asked == 1


def test_where_no_thread_is_free_the_sources_that_need_none_answer(over: threading.Event) -> None:
    threads = Threads("test", 1)
    busy = [fetches(threads) for _ in range(2)]
    for number, each in enumerate(busy):
        each.start([stage(f"silent{number}", Silent(over))], ())
    found = fetches(threads).collect(
        "provider", [stage("late", Silent(over)), stage("near", Answering())], ()
    )
    assert list(found.found) == ["near"]
    assert "under way" in found.failures["late"]


def test_a_source_that_was_not_begun_by_its_deadline_is_late_for_all(over: threading.Event) -> None:
    threads = Threads("test", 1)
    fetches(threads).start([stage("silent", Silent(over))], ())
    asked = fetches(threads)
    stages = [stage("late", Silent(over), 10)]
    for _ in range(2):
        assert asked.collect("provider", stages, ()).failures == {"late": "it has not answered within 10 ms"}
