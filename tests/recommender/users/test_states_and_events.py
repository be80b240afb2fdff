"""States of users: what SQL has, and what this process has accepted beside it, in any order of events."""

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.recommender.threaded import meanwhile
from tests.recommender.users.audiences import START, USER, empty_state, interaction, interactions

from nearfeed_contracts.events import KINDS, Interaction
from nearfeed_contracts.fields import from_micros, now_micros, to_micros
from nearfeed_contracts.topics import record_of
from nearfeed_core.readings import Reading, WeightRule, weights_of
from nearfeed_recommender.app.bootstrap import bootstrap
from nearfeed_recommender.app.wiring import Recommender
from nearfeed_recommender.catalog.columns import Columns
from nearfeed_recommender.exposure_log.outcomes import AttributionSettings
from nearfeed_recommender.identity.links import merge_ids
from nearfeed_recommender.pipeline.query import Hydrator
from nearfeed_recommender.users import states as states_module
from nearfeed_recommender.users.erasure import erase_user
from nearfeed_recommender.users.memberships import (
    Controls,
    communities_of,
    controls_of,
    leave_community,
    put_memberships,
    set_control,
)
from nearfeed_recommender.users.reset import reset_reader
from nearfeed_recommender.users.state import UserState, reader_inputs
from nearfeed_recommender.users.states import UserStates
from nearfeed_runtime.sql import committed, read_connection

SECRET = b"a test's secret"
IDS = [f"p{number}" for number in range(5)]
DAY = 86_400_000_000
users = itertools.count()
bounded = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def readings_of(state: UserState) -> dict[str, Reading]:
    """The rows of a state; they are in the order of their ids."""
    ids = [state.columns.ids[row] for row in state.rows.tolist()]
    assert ids == sorted(set(ids))
    return {
        item_id: Reading(
            {kind: int(at) for kind, at in zip(KINDS, times, strict=True) if not np.isnan(at)},
            None if np.isnan(rating) else rating,
        )
        for item_id, times, rating in zip(ids, state.times.tolist(), state.ratings.tolist(), strict=True)
    }


def merged(events: Sequence[Interaction], after: int) -> dict[str, Reading]:
    rows: dict[str, Reading] = {}
    for event in events:
        at = to_micros(event.occurred_at)
        if at > after:
            rows[event.item_id] = rows.get(event.item_id, Reading()).merged(event.kind, at, event.value)
    return rows


@settings(max_examples=80, deadline=None)
@given(
    events=st.lists(interactions(IDS), max_size=12),
    data=st.data(),
    reset_at=st.sampled_from([0, START + 2_000_000]),
)
def test_events_are_laid_over_a_state_in_any_order_and_repetition(
    events: list[Interaction], data: st.DataObject, reset_at: int
) -> None:
    columns = Columns()
    columns.reserve(reversed(IDS))
    repeated = events + (data.draw(st.lists(st.sampled_from(events), max_size=4)) if events else [])
    told = data.draw(st.permutations(repeated))
    cut = data.draw(st.integers(0, len(told)))
    before = empty_state(columns, reset_at=reset_at)
    state = before.with_events(told[:cut]).with_events(told[cut:])
    assert readings_of(state) == merged(events, reset_at)
    assert all(state.has(event) for event in told)
    assert len(before.rows) == 0
    assert state.vectors == {}


@settings(max_examples=80, deadline=None)
@given(events=st.lists(interactions(IDS), max_size=12), later=interactions(IDS))
@example(events=[interaction("p1", "rating", 1, 5.0)], later=interaction("p1", "rating", 1, 1.0))
def test_a_state_has_an_event_where_it_would_change_nothing(
    events: list[Interaction], later: Interaction
) -> None:
    state = empty_state(Columns()).with_events(events)
    changed = readings_of(state.with_events([later])) != readings_of(state)
    assert state.has(later) == (not changed)


@settings(max_examples=80, deadline=None)
@given(
    events=st.lists(interactions(IDS), max_size=12),
    turned_down=st.frozensets(st.sampled_from([*IDS, "p9"]), max_size=2),
)
def test_what_follows_from_the_rows(events: list[Interaction], turned_down: frozenset[str]) -> None:
    columns = Columns()
    state = replace(empty_state(columns), controls=Controls(items=turned_down)).with_events(events)
    rows = merged(events, 0)
    down = {item for item, row in rows.items() if row.is_excluded()} | turned_down
    assert state.unwanted_ids == down
    assert state.seen_or_unwanted_ids == down | {item for item, row in rows.items() if row.is_seen()}
    counting = {
        item: newest
        for item, row in rows.items()
        if item not in turned_down and (newest := row.newest_at()) is not None
    }
    newest_first = sorted(counting, key=lambda item: (-counting[item], item))
    found, weights = state.newest
    assert [columns.ids[row] for row in found.tolist()] == newest_first
    expected = weights_of([rows[item] for item in newest_first], WeightRule())
    assert weights.tolist() == pytest.approx(expected, rel=1e-12)


@dataclass
class User:
    """A user of the world, and what should be known of them."""

    world: Any
    user_id: str
    other: Recommender
    told: dict[str, list[Interaction]] = field(default_factory=lambda: {"here": [], "there": []})
    committed: list[Interaction] = field(default_factory=list)
    void_until: int = -1

    def service(self, where: str) -> Recommender:
        return self.world.service if where == "here" else self.other

    def hydrator(self, where: str) -> Hydrator:
        return self.service(where).app.state.context.answers.feed.hydrator

    def tell(self, where: str, item_id: str, kind: Any, days: int, value: float) -> None:
        """What the API does with an event, which may be of days ago."""
        event = Interaction(
            user_id=self.user_id,
            item_id=item_id,
            kind=kind,
            occurred_at=from_micros(now_micros() - days * DAY),
            value=value if kind == "rating" else None,
        )
        self.world.log.append([record_of(event)])
        self.service(where).app.state.context.answers.states.accept([event])
        self.told[where].append(event)

    def change(self, name: str, target: str) -> None:
        """What the API does with all else that is of a user."""
        works = {
            "hide": lambda t: set_control(t, self.user_id, "hide", target, True),
            "show": lambda t: set_control(t, self.user_id, "hide", target, False),
            "join": lambda t: put_memberships(t, [(self.user_id, f"c{int(target[1:]) % 2}", now_micros())]),
            "leave": lambda t: leave_community(t, self.user_id, f"c{int(target[1:]) % 2}"),
        }
        committed(self.world.engine, works[name])

    def begin_anew(self, *, erased: bool) -> None:
        moment = now_micros()
        if erased:
            joining = AttributionSettings(SECRET, DAY)
            committed(self.world.engine, lambda t: erase_user(t, joining, self.user_id, "delete"))
            moment = now_micros()
        else:
            committed(
                self.world.engine,
                lambda t: reset_reader(t, self.user_id, moment, controls=False, memberships=False),
            )
        self.void_until = moment

    def consume(self) -> None:
        self.world.settle()
        self.committed = [*self.told["here"], *self.told["there"]]

    def look(self, where: str) -> UserState:
        """The state of a request, which must be what is committed and what this process has accepted."""
        state = self.hydrator(where).query(self.user_id).state
        known = [*self.committed, *self.told[where]]
        assert readings_of(state) == merged(known, self.void_until)
        with read_connection(self.world.engine) as connection:
            assert state.joined == communities_of(connection, self.user_id)
            assert state.controls == controls_of(connection, self.user_id)
        return state


steps = st.one_of(
    st.tuples(
        st.just("tell"),
        st.sampled_from(["here", "here", "there"]),
        st.sampled_from(IDS),
        st.sampled_from(KINDS),
        st.integers(0, 2),
        st.sampled_from([1.0, 4.0]),
    ),
    st.tuples(st.sampled_from(["hide", "show", "join", "leave"]), st.sampled_from(IDS)),
    st.tuples(st.just("look"), st.sampled_from(["here", "there"])),
    st.tuples(st.sampled_from(["consume", "consume", "reset", "erase"])),
)


def take(user: User, step: tuple[Any, ...]) -> None:
    name, *what = step
    if name == "tell":
        user.tell(*what)
    elif name == "look":
        user.look(*what)
    elif name == "consume":
        user.consume()
    elif name in ("reset", "erase"):
        user.begin_anew(erased=name == "erase")
    else:
        user.change(name, *what)


def same(one: UserState, other: UserState) -> bool:
    return (
        readings_of(one) == readings_of(other)
        and (one.joined, one.controls, one.unit) == (other.joined, other.controls, other.unit)
        and one.reset_at == other.reset_at
        and one.revision == other.revision
    )


@pytest.fixture
def other(served: Any) -> Iterator[Recommender]:
    """Another process on the same data."""
    service = bootstrap(served.settings, engine=served.engine, log=served.log, store=served.store)
    yield service
    service.close()


@bounded
@given(taken=st.lists(steps, max_size=14))
def test_a_state_is_what_sql_and_this_process_know(
    served: Any, other: Recommender, taken: list[tuple[Any, ...]]
) -> None:
    """In the end, when all is consumed, each process has the state that a new one reads."""
    user = User(served, f"u{next(users)}", other)
    for step in taken:
        take(user, step)
    user.consume()
    columns = user.hydrator("here").query(user.user_id).columns
    fresh = UserStates(columns, WeightRule(), SECRET).read(served.engine, user.user_id)
    assert same(user.look("here"), fresh)
    assert same(user.look("there"), fresh)


@pytest.mark.parametrize("looks", list(itertools.product([False, True], repeat=3)))
def test_an_event_of_an_erased_user_does_not_come_back(
    served: Any, other: Recommender, looks: tuple[bool, ...]
) -> None:
    """Whatever a process has looked at between: before the event, after it, and after the erasure."""
    user = User(served, f"u{next(users)}", other)
    take(user, ("look", "here"))
    user.tell("here", "p1", "read", 0, 1.0)
    for looked, name in zip(looks, ("consume", "erase", "consume"), strict=True):
        if looked:
            user.look("here")
        take(user, (name,))
    state = user.look("here")
    assert len(state.rows) == 0
    user.tell("here", "p2", "read", 0, 1.0)
    assert readings_of(user.look("here")).keys() == {"p2"}


def states_of(world: Any) -> UserStates:
    return world.service.app.state.context.answers.states  # type: ignore[no-any-return]


def test_a_batch_as_large_as_what_is_kept_replaces_the_one_before(served: Any, other: Recommender) -> None:
    """More events come of a user than are kept before the consumer has any: the newest hold."""
    user = User(served, f"u{next(users)}", other)
    user.look("here")
    reads = [interaction("p1", "read", second) for second in range(700)]
    last = [interaction("p2", "read", 0)]
    for batch in (reads, last):
        states_of(served).accept([each.model_copy(update={"user_id": user.user_id}) for each in batch])
        seen = readings_of(user.hydrator("here").query(user.user_id).state)
    assert seen["p2"] == Reading({"read": START})
    assert max(seen["p1"].times.values()) == START + 699 * 1_000_000


class Counted:
    """How much is kept of the states of many users."""

    def __init__(self, world: Any, most_bytes: int) -> None:
        self._engine = world.engine
        self.columns = Columns()
        self.states = UserStates(self.columns, WeightRule(), SECRET, most_bytes)

    def read(self, user_id: str) -> UserState:
        return self.states.read(self._engine, user_id)


def test_memory_is_bounded_by_bytes(served: Any) -> None:
    """States and the states laid over them; one that is larger than all is not kept."""
    counted = Counted(served, 20_000)
    event = interaction("p1", "read", 0)
    for number in range(60):
        user_id = f"m{number}"
        counted.states.accept(
            [event.model_copy(update={"user_id": user_id, "item_id": f"p{n}"}) for n in range(number)]
        )
        state = counted.read(user_id)
        assert len(state.rows) == number
        assert sum(state.bytes for state in counted.states._kept.values()) <= 20_000
        assert sum(made.state.bytes for made in counted.states._overlaid.values()) <= 20_000
    assert 1 < len(counted.states._kept) < 60
    assert counted.read("m59").rows.size == 59


def test_events_that_wait_are_bounded(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states_module, "_MOST_PENDING_EVENTS", 100)
    counted = Counted(served, 2**20)
    event = interaction("p1", "read", 0)
    for number in range(50):
        counted.states.accept(
            [event.model_copy(update={"user_id": f"w{number}", "item_id": f"p{n}"}) for n in range(7)]
        )
        assert len(counted.read(f"w{number}").rows) == 7
    assert sum(map(len, counted.states._pending.values())) <= 100


def test_a_state_takes_no_more_memory_than_it_says() -> None:
    columns = Columns()
    ids = [f"p{number}" for number in range(2_000)]
    state = empty_state(columns).with_events([interaction(item, "read", 0) for item in ids])
    assert state.bytes > 0
    _ = state.unwanted_ids, state.seen_or_unwanted_ids, state.newest, state.inputs, state.seen
    taken = sum(_size_of(value) for value in vars(state).values())
    assert taken <= state.bytes


def _size_of(value: object) -> int:
    """Of arrays and sets; what columns and configuration hold is theirs."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, frozenset):
        return sys.getsizeof(value)
    if isinstance(value, tuple):
        return sum(map(_size_of, value))
    arrays = getattr(value, "__dict__", {}) if type(value).__name__ == "Engagements" else {}
    return sum(map(_size_of, arrays.values()))


def test_ids_that_became_one_user_stay_so_when_nothing_else_is_left_of_them(
    served: Any, other: Recommender
) -> None:
    """Experiments assign a user by the unit, which must not be that of before the ids were merged."""
    user = User(served, f"u{next(users)}", other)
    assert user.look("here").unit == user.user_id
    unit = committed(served.engine, lambda t: merge_ids(t, user.user_id, f"anonymous{next(users)}"))
    assert unit != user.user_id
    user.change("hide", "p1")
    served.settle()
    user.change("show", "p1")
    served.settle()
    assert user.look("here").unit == user.look("there").unit == unit


def test_threads_get_a_state_that_is_whole(served: Any, other: Recommender) -> None:
    """Reads, events and the consumer at the same time: whoever looks sees all that was accepted before."""
    user = User(served, f"u{next(users)}", other)
    accepted: list[str] = []

    def look() -> None:
        before = set(accepted)
        assert before <= readings_of(user.hydrator("here").query(user.user_id).state).keys()

    with meanwhile(look, look):
        for number in range(40):
            user.tell("here", f"p{number % 20}", "read", 0, 1.0)
            accepted.append(f"p{number % 20}")
            if number % 8 == 0:
                user.consume()
    user.consume()
    user.look("here")
    user.look("there")
    assert reader_inputs(user.look("here")) == user.look("here").inputs
    assert USER not in accepted
