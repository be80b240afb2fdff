"""Limits: as many calls a minute as are allowed, for each caller alone; health is never refused."""

from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearfeed_recommender.access import callers
from nearfeed_recommender.access.callers import open_limiter, seconds_to_wait
from nearfeed_recommender.access.keys.changing import create_key
from nearfeed_recommender.access.keys.rows import WantedKey


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 30)), min_size=1, max_size=60),
)
def test_a_minute_of_the_clock_never_has_more_calls_and_a_rested_caller_passes(
    limit: int, calls: list[tuple[str, float]]
) -> None:
    now = 1_000_000.0
    passed: dict[str, deque[float]] = {"a": deque(), "b": deque()}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("time.time", lambda: now)
        limiter = open_limiter()
        for caller, later in calls:
            now += later
            wait = seconds_to_wait(limiter, caller, limit)
            before = passed[caller]
            this_minute = [at for at in before if at // 60 == now // 60]
            assert (wait == 0) or 1 <= wait <= 120
            assert not (wait == 0 and len(this_minute) >= limit)
            if all(at < now - 120 for at in before):
                assert wait == 0
            if wait == 0:
                before.append(now)


def test_a_limit_of_zero_is_none() -> None:
    limiter = open_limiter()
    assert not any(seconds_to_wait(limiter, "a", 0) for _ in range(1_000))


def test_one_call_too_many_is_told_when_to_come_again(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers.time, "time", lambda: 1_000_000.0)
    texts = []
    for name in ("a", "b"):
        wanted = WantedKey(name=name, scopes=["feed"], per_minute=3)
        texts.append(create_key(world.engine, wanted, "Ann").text)
    world.client.app.state.context.access.keys.refresh()

    def status(text: str, url: str = "/v1/feed?user_id=u") -> int:
        return int(world.client.get(url, headers={"x-api-key": text}).status_code)

    assert [status(texts[0]) for _ in range(4)] == [200, 200, 200, 429]
    answer = world.client.get("/v1/feed?user_id=u", headers={"x-api-key": texts[0]})
    assert answer.headers["content-type"] == "application/problem+json"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert status(texts[1]) == 200
    assert status(texts[0], "/healthz") == status(texts[0], "/readyz") == 200
