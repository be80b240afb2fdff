"""A vector server that is silent, refuses or is slow, as the feed sees it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY

from nearfeed_contracts.vector_store import StoreUnavailableError, UnknownSpaceError
from nearfeed_recommender.app.bootstrap import bootstrap
from nearfeed_recommender.infra import breaker as breakers
from nearfeed_recommender.infra.breaker import StoreBreaker

FAILURES_TO_OPEN = 5
PATIENCE_SECONDS = 30


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(breakers, "time", clock)
    return clock


@pytest.fixture
def silence() -> Iterator[Callable[..., None]]:
    """A question that nobody answers before the test is over."""
    over = threading.Event()
    yield lambda *_: over.wait(60) and None
    over.set()


class Questions:
    """Answers or fails, and counts how often it was asked."""

    asked = 0
    error: Exception | None = None

    def __call__(self) -> str:
        self.asked += 1
        if self.error:
            raise self.error
        return "answer"


def refused(breaker: StoreBreaker, question: Callable[[], object], match: str) -> None:
    with pytest.raises(StoreUnavailableError, match=match):
        breaker.ask(question)


def answer_of(breaker: StoreBreaker) -> str:
    """The answer as soon as the breaker asks again, of its own accord: the clock does not move."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return breaker.ask(Questions())
        except StoreUnavailableError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def failures(reason: str) -> float:
    return REGISTRY.get_sample_value("nearfeed_vector_failures_total", {"reason": reason}) or 0.0


def test_nobody_waits_for_silence_longer_than_the_deadline(silence: Callable[[], None]) -> None:
    before = failures("timeout")
    refused(StoreBreaker(0.02), silence, r"within 20 ms \(NEARFEED_SEARCH_TIMEOUT_MS\)")
    assert failures("timeout") == before + 1


def test_a_store_in_this_process_is_asked_without_a_deadline_in_the_callers_thread() -> None:
    assert StoreBreaker().ask(threading.current_thread) is threading.current_thread()


def test_a_store_that_fails_is_tried_once_a_second_until_it_answers(clock: Clock) -> None:
    question, before = Questions(), failures("open")
    breaker = StoreBreaker(5)
    question.error = StoreUnavailableError("refused")
    for _ in range(FAILURES_TO_OPEN):
        refused(breaker, question, "refused")
    for second in range(1, 4):
        refused(breaker, question, "taken for dead")
        clock.now += 1
        refused(breaker, question, "refused")
        refused(breaker, question, "taken for dead")
        assert question.asked == FAILURES_TO_OPEN + second
    assert failures("open") == before + 6
    question.error = None
    refused(breaker, question, "taken for dead")
    clock.now += 1
    assert [breaker.ask(question) for _ in range(3)] == ["answer"] * 3


def test_failures_between_answers_and_errors_that_are_answers_leave_it_closed() -> None:
    question = Questions()
    breaker = StoreBreaker(5)
    for _ in range(3):
        question.error = StoreUnavailableError("refused")
        for _ in range(FAILURES_TO_OPEN - 1):
            refused(breaker, question, "refused")
        question.error = UnknownSpaceError("no such space")
        with pytest.raises(UnknownSpaceError):
            breaker.ask(question)


def test_a_slow_store_is_asked_again_when_a_late_answer_comes(clock: Clock) -> None:
    breaker, go_on = StoreBreaker(0.02), threading.Event()
    for _ in range(FAILURES_TO_OPEN):
        refused(breaker, lambda: go_on.wait(60), "within")
    refused(breaker, Questions(), "taken for dead")
    go_on.set()
    assert answer_of(breaker) == "answer"


def test_one_request_of_many_tries_a_dead_store(clock: Clock, silence: Callable[[], None]) -> None:
    breaker = StoreBreaker(0.02)
    for _ in range(FAILURES_TO_OPEN):
        refused(breaker, silence, "within")
    clock.now += 1
    asked = []

    def request() -> None:
        with pytest.raises(StoreUnavailableError):
            breaker.ask(lambda: asked.append(1) or silence())

    threads = [threading.Thread(target=request) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 1


def test_the_feed_of_a_silent_server_is_degraded_at_the_deadline(
    served: Any, silence: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"user_id": "u", "item_id": "p0", "kind": "read"}
    assert served.client.post("/v1/events", json=told).status_code == 202
    served.settle()
    settings = served.settings.model_copy(
        update={"vectors_url": "milvus://silent:19530", "search_timeout_ms": 20}
    )
    parts = {"engine": served.engine, "log": served.log, "store": served.store}
    with closing(bootstrap(settings, **parts)) as service, monkeypatch.context() as patch:
        client = TestClient(service.app)
        patch.setattr(served.store, "search", silence)
        page = client.get("/v1/feed?user_id=u").json()
        assert page["degraded"]
        assert len(page["items"]) == 19
        assert client.get("/v1/items/p1/similar").status_code == 503
        patch.undo()
        assert not client.get("/v1/feed?user_id=u").json()["degraded"]
