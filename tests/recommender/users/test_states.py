"""User states: what was accepted holds in the next request, and is what the consumer makes of it."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearfeed_contracts.events import KINDS, Interaction
from nearfeed_contracts.fields import from_micros, to_micros
from nearfeed_contracts.topics import record_of
from nearfeed_core.readings import Reading
from nearfeed_recommender.users.state import UserState

BASE = 1_700_000_000_000_000
DAY = 86_400_000_000
numbers = itertools.count()
EVENTS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(KINDS), st.integers(0, 6), st.sampled_from([1.0, 3.0, 5.0])),
    min_size=1,
    max_size=5,
)
STEPS = st.lists(EVENTS | st.sampled_from(["consume", "reset", "restart"]), max_size=8)


def interactions(user: str, drawn: Sequence[tuple[int, Any, int, float]]) -> list[Interaction]:
    return [
        Interaction(
            user_id=user,
            item_id=f"p{item}",
            kind=kind,
            occurred_at=from_micros(BASE + day * DAY),
            value=value if kind == "rating" else None,
        )
        for item, kind, day, value in drawn
    ]


def rows_of(state: UserState) -> dict[str, Reading]:
    return {
        state.columns.ids[row]: Reading(
            {kind: int(at) for kind, at in zip(KINDS, times, strict=True) if not np.isnan(at)},
            None if np.isnan(rating) else float(rating),
        )
        for row, times, rating in zip(state.rows.tolist(), state.times, state.ratings, strict=True)
    }


def assert_follows(state: UserState, rows: dict[str, Reading]) -> None:
    """What is derived from the rows, by the rules for one row."""
    ids = state.columns.ids
    assert rows_of(state) == rows
    assert list(rows_of(state)) == sorted(rows)
    assert {ids[row] for row in state.seen} == {item for item, row in rows.items() if row.is_seen()}
    assert {ids[row] for row in state.unwanted} == {item for item, row in rows.items() if row.is_excluded()}
    newest = {item: at for item, row in rows.items() if (at := row.newest_at()) is not None}
    counting = [ids[state.rows[place]] for place in state.counting]
    assert counting == sorted(newest, key=lambda item: (-newest[item], item))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_next_request_has_all_that_was_accepted(served: Any, steps: list[Any]) -> None:
    user = f"u{next(numbers)}"
    rows: dict[str, Reading] = {}
    for step in steps:
        if step == "consume":
            served.settle()
        elif step == "reset":
            assert served.client.post(f"/v1/users/{user}/reset?controls=true").status_code == 204
            rows = {}
        elif step == "restart":
            served.settle()
            served.restart()
        else:
            events = interactions(user, step)
            served.log.append([record_of(event) for event in events])
            served.answers.states.accept(events)
            for event in [event for event in events if is_later(served, event)]:
                before = rows.get(event.item_id, Reading())
                rows[event.item_id] = before.merged(event.kind, to_micros(event.occurred_at), event.value)
        for _ in range(2):
            assert_follows(served.answers.feed.hydrator.query(user).state, rows)
    served.settle()
    assert_follows(served.answers.feed.hydrator.query(user).state, rows)
    served.restart()
    assert_follows(served.answers.feed.hydrator.query(user).state, rows)


def is_later(world: Any, event: Interaction) -> bool:
    """Whether an event is of after the last reset of its user."""
    reset_at: int = world.answers.feed.hydrator.query(event.user_id).state.reset_at
    return to_micros(event.occurred_at) > reset_at


def test_a_state_is_read_again_when_its_revision_is_another(served: Any) -> None:
    query = served.answers.feed.hydrator.query
    first = query("u").state
    assert query("u").state is first
    assert served.client.put("/v1/users/v/communities/c0").status_code == 204
    assert query("u").state is first
    assert served.client.put("/v1/users/u/communities/c0").status_code == 204
    assert query("u").state.joined == {"c0"}
