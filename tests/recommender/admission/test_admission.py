"""Admission: as load grows a call is answered in full, then cheaply, then with 503."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY

from nearfeed_recommender.admission import control
from nearfeed_recommender.admission.control import DISCONNECTED, Admission, OverloadedError, Processor
from nearfeed_recommender.admission.work_pool import WorkPool
from nearfeed_recommender.http.problems import install_problem_handlers

LONG = 60.0


class FixedProcessor(Processor):
    """One that is busy or not, as a test says."""

    busy = False

    def is_busy(self) -> bool:
        return self.busy


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Set when work that hangs shall end, at the latest with the test."""
    event = threading.Event()
    yield event
    event.set()


def admission_of(processor: Processor, *, seconds: float = LONG) -> Admission:
    """Two threads, three places to wait, and cheap answers in one thread with one place."""
    return Admission(WorkPool("full", 2, 3), WorkPool("cheap", 1, 1), processor, seconds)


def request() -> Any:
    return SimpleNamespace(scope={})


async def outcome(admission: Admission, over: threading.Event, *, with_cheap: bool = True) -> str:
    def hang(name: str) -> str:
        over.wait(LONG)
        return name

    cheap = (lambda: hang("cheap")) if with_cheap else None
    try:
        return await admission.run(request(), lambda _: hang("full"), cheap)
    except OverloadedError:
        return "refused"


async def outcomes(admission: Admission, over: threading.Event, calls: int, **options: bool) -> list[str]:
    """What calls are answered with that come one after the other, none of which ends before the last came."""
    tasks = []
    for _ in range(calls):
        tasks.append(asyncio.create_task(outcome(admission, over, **options)))
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    over.set()
    return await asyncio.gather(*tasks)


def test_as_load_grows_answers_are_full_then_cheap_then_refused(over: threading.Event) -> None:
    admission = admission_of(FixedProcessor())
    answers = asyncio.run(outcomes(admission, over, 10))
    assert answers == ["full"] * 5 + ["cheap"] * 2 + ["refused"] * 3


def test_a_busy_processor_gives_no_cheap_answers(over: threading.Event) -> None:
    processor = FixedProcessor()
    processor.busy = True
    answers = asyncio.run(outcomes(admission_of(processor), over, 8))
    assert answers == ["full"] * 5 + ["refused"] * 3


def test_calls_without_a_cheap_answer_are_refused(over: threading.Event) -> None:
    answers = asyncio.run(outcomes(admission_of(FixedProcessor()), over, 7, with_cheap=False))
    assert answers == ["full"] * 5 + ["refused"] * 2


def test_after_overload_calls_are_answered_in_full_again(over: threading.Event) -> None:
    admission = admission_of(FixedProcessor())

    async def load() -> list[str]:
        await outcomes(admission, over, 10)
        return await outcomes(admission, over, 5)

    assert asyncio.run(load()) == ["full"] * 5


def test_work_that_hangs_gets_the_cheap_answer_before_the_deadline(over: threading.Event) -> None:
    admission = Admission(WorkPool("full", 2, 3), WorkPool("cheap", 1, 4), FixedProcessor(), 0.4)

    async def load() -> list[str]:
        calls = [admission.run(request(), lambda _: over.wait(LONG), lambda: "cheap") for _ in range(5)]
        return await asyncio.gather(*calls)

    assert asyncio.run(load()) == ["cheap"] * 5


def test_a_client_that_has_gone_gets_no_cheap_answer(over: threading.Event) -> None:
    admission = admission_of(FixedProcessor())
    gone = SimpleNamespace(scope={DISCONNECTED: True})
    begun: list[str] = []

    async def load() -> None:
        full = [asyncio.create_task(outcome(admission, over)) for _ in range(2)]
        await asyncio.sleep(0)
        dropped = asyncio.create_task(
            admission.run(gone, lambda _: begun.append("full"), lambda: begun.append("cheap"))  # type: ignore[func-returns-value, arg-type]
        )
        await asyncio.sleep(0)
        over.set()
        await asyncio.gather(*full)
        with pytest.raises(OverloadedError):
            await dropped

    asyncio.run(load())
    assert begun == []


def test_work_is_told_by_when_it_shall_end() -> None:
    admission = admission_of(FixedProcessor(), seconds=10.0)
    began = time.monotonic()
    due = asyncio.run(admission.run(request(), lambda deadline: deadline.at))
    assert began + 8.0 <= due <= time.monotonic() + 8.0


def test_requests_that_have_entered_fill_it_until_they_leave() -> None:
    processor = FixedProcessor()
    admission = admission_of(processor)
    full_at = Counter[bool]()
    for busy in (False, True):
        processor.busy = busy
        while not admission.is_full:
            admission.enter()
            full_at[busy] += 1
        for _ in range(full_at[busy]):
            admission.leave()
        assert not admission.is_full
    assert full_at == {False: 7, True: 5}


def test_what_was_not_answered_in_full_is_counted(over: threading.Event) -> None:
    def shed(answer: str) -> float:
        labels = {"pool": "full", "reason": "full", "answer": answer}
        return REGISTRY.get_sample_value("nearfeed_calls_shed_total", labels) or 0.0

    before = {answer: shed(answer) for answer in ("cheap", "refused")}
    asyncio.run(outcomes(admission_of(FixedProcessor()), over, 10))
    assert {answer: shed(answer) - before[answer] for answer in before} == {"cheap": 2, "refused": 3}


def test_a_refused_call_is_a_problem_that_says_when_to_try_again(over: threading.Event) -> None:
    admission = Admission(WorkPool("none", 1, 0), WorkPool("cheap", 1, 0), FixedProcessor(), 0.05)
    app = FastAPI()
    install_problem_handlers(app)

    @app.get("/")
    async def answer(request: Request) -> Response:
        return Response(str(await admission.run(request, lambda _: over.wait(LONG))))

    refused = TestClient(app).get("/")
    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) >= 1


def test_a_processor_is_busy_by_what_it_did_since_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"passed": 0.0, "used": 0.0}
    fake = SimpleNamespace(monotonic=lambda: clock["passed"], process_time=lambda: clock["used"])
    monkeypatch.setattr(control, "time", fake)
    processor = Processor()
    looks = []
    for passed, used in ((1.0, 0.9), (0.01, 0.0), (1.0, 0.1), (0.2, 0.2)):
        clock["passed"] += passed
        clock["used"] += used
        looks.append(processor.is_busy())
    assert looks == [True, True, False, True]
