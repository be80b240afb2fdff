"""Bounded threads: how many there are, what is refused, and what can be taken back."""

import threading
from concurrent.futures import CancelledError, Future
from contextvars import ContextVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfeed_recommender.infra.threads import Threads, TooBusyError

WAIT_SECONDS = 30
asked_by: ContextVar[str] = ContextVar("asked_by", default="nobody")


class Gate:
    """Work that stays under way until it is let go, and counts how much of it is at once."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.most = 0
        self.workers: set[int] = set()
        self._begun = 0
        self._now = 0
        self._changed = threading.Condition()

    def work(self) -> int:
        with self._changed:
            self._now += 1
            self._begun += 1
            self.most = max(self.most, self._now)
            self.workers.add(threading.get_ident())
            self._changed.notify_all()
        assert self.open.wait(WAIT_SECONDS)
        with self._changed:
            self._now -= 1
        return threading.get_ident()

    def wait_for(self, begun: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._begun >= begun, WAIT_SECONDS)


@settings(max_examples=15, deadline=None)
@given(most=st.integers(1, 4), calls=st.integers(1, 12))
def test_there_are_never_more_threads_than_the_bound(most: int, calls: int) -> None:
    threads, gate = Threads("bounded", most), Gate()
    answers: list[Future[int]] = []
    refused = 0
    for _ in range(calls):
        try:
            answers.append(threads.submit(gate.work))
        except TooBusyError:
            refused += 1
    gate.wait_for(min(most, calls))
    gate.open.set()
    workers = {answer.result(WAIT_SECONDS) for answer in answers}
    assert refused == max(0, calls - 2 * most)
    assert gate.most == min(most, calls)
    assert len(workers) <= most


def test_threads_are_used_again() -> None:
    threads = Threads("again", 3)
    workers = {threads.submit(threading.get_ident).result(WAIT_SECONDS) for _ in range(30)}
    assert 1 <= len(workers) <= 3


def test_work_that_has_not_begun_can_be_cancelled_and_makes_room() -> None:
    threads, gate = Threads("cancelled", 1), Gate()
    under_way = threads.submit(gate.work)
    gate.wait_for(1)
    done = list[str]()
    waiting = threads.submit(lambda: done.append("never"))
    with pytest.raises(TooBusyError):
        threads.submit(lambda: None)
    assert not under_way.cancel()
    assert waiting.cancel()
    gate.open.set()
    assert under_way.result(WAIT_SECONDS)
    assert threads.submit(lambda: done.append("later")).result(WAIT_SECONDS) is None
    assert done == ["later"]
    with pytest.raises(CancelledError):
        waiting.result(0)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_an_error_is_the_askers_and_the_thread_goes_on(error: BaseException) -> None:
    threads = Threads("failing", 1)

    def fail() -> None:
        raise error

    first = threads.submit(threading.get_ident).result(WAIT_SECONDS)
    answer = threads.submit(fail)
    assert answer.exception(WAIT_SECONDS) is error
    assert threads.submit(threading.get_ident).result(WAIT_SECONDS) == first


def test_work_has_the_context_of_its_asker() -> None:
    threads = Threads("context", 1)
    asked_by.set("first")
    first = threads.submit(asked_by.get)
    asked_by.set("second")
    second = threads.submit(asked_by.get)
    assert (first.result(WAIT_SECONDS), second.result(WAIT_SECONDS)) == ("first", "second")


def test_no_thread_keeps_the_process_from_ending() -> None:
    threads = Threads("daemons", 2)
    assert threads.submit(lambda: threading.current_thread().daemon).result(WAIT_SECONDS)
