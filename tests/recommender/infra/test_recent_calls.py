"""The ring of the last hour against a list of all calls."""

import math
import threading
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfeed_recommender.infra import recent_calls as recent
from nearfeed_recommender.infra.recent_calls import MINUTES, RecentCalls

CALLS = st.lists(
    st.tuples(
        st.integers(0, 5_000),
        st.sampled_from(["/v1/feed", "/v1/events"]),
        st.sampled_from([200, 422, 500, 503]),
        st.floats(0.0006, 20),
    ),
    max_size=60,
)


@settings(max_examples=50, deadline=None)
@given(CALLS)
def test_counts_and_quantiles(calls: list[tuple[int, str, int, float]]) -> None:
    calls.sort(key=lambda call: call[0])
    with patch.object(recent.time, "time") as clock:
        clock.return_value = 6_000_000.0
        ring = RecentCalls()
        for seconds, route, status, took in calls:
            clock.return_value = 6_000_000.0 + seconds
            ring.note("GET", route, status, took)
        hour = ring.hour()
        last = int(clock.return_value) // 60
    kept = [call for call in calls if (6_000_000 + call[0]) // 60 > last - MINUTES]
    assert [at // 60 for at, _ in hour.minutes] == list(range(last - MINUTES + 1, last + 1))
    assert sum(one.calls for _, one in hour.minutes) == len(kept)
    assert sum(one.failed for _, one in hour.minutes) == sum(call[2] >= 500 for call in kept)
    assert {route for _, route in hour.routes} == {call[1] for call in kept}
    for (_, route), told in hour.routes.items():
        times = sorted(call[3] for call in kept if call[1] == route)
        assert told.calls == len(times)
        for share, value in ((0.5, told.p50), (0.95, told.p95), (0.99, told.p99)):
            exact = times[math.ceil(share * len(times)) - 1]
            assert exact <= value * 1.000001
            assert value <= exact * 1.16


def test_a_minute_that_has_passed_is_emptied_once() -> None:
    with patch.object(recent.time, "time") as clock:
        clock.return_value = 0.0
        ring = RecentCalls()
        ring.note("GET", "/v1/feed", 200, 0.01)
        clock.return_value = 3_599.0
        assert ring.hour().minutes[0][1].calls == 1
        clock.return_value = 3_600.0
        assert sum(calls.calls for _, calls in ring.hour().minutes) == 0
        assert ring.hour().routes == {}
        clock.return_value = 900_000.0
        ring.note("GET", "/v1/feed", 200, 0.01)
        assert ring.hour().minutes[-1][1].calls == 1


def test_threads_lose_no_call() -> None:
    ring = RecentCalls()

    def work() -> None:
        for _ in range(500):
            ring.note("GET", "/v1/feed", 200, 0.01)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.sum([calls.calls for _, calls in ring.hour().minutes]) == 2_000
