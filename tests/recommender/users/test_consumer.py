"""Events to rows to user vectors: against an oracle, in any order, with crashes between statements."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, event, func, select

from nearfeed_contracts.events import KINDS, Event, Interaction, UserErased
from nearfeed_contracts.fields import from_micros, to_micros
from nearfeed_contracts.runs import Block
from nearfeed_contracts.tables import interactions, positions, user_vectors
from nearfeed_contracts.topics import record_of
from nearfeed_core.pooling import pool_reader
from nearfeed_core.readings import Reading, WeightRule, weights_of
from nearfeed_recommender.users import consumer as consuming
from nearfeed_recommender.users.user_vectors import stored_vector
from nearfeed_runtime.sql import read_connection, write_transaction

BASE = 1_700_000_000_000_000
DAY = 86_400_000_000
numbers = itertools.count()
actions = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(KINDS), st.integers(0, 6), st.sampled_from([1.0, 3.0, 5.0])),
    min_size=1,
    max_size=15,
)
bounded = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Killed(BaseException):
    """The end of a process between two statements."""


def told_by(user_id: str, drawn: Sequence[tuple[int, Any, int, float]]) -> list[Interaction]:
    return [
        Interaction(
            user_id=user_id,
            item_id=f"p{item}",
            kind=kind,
            occurred_at=from_micros(BASE + day * DAY),
            value=value if kind == "rating" else None,
        )
        for item, kind, day, value in drawn
    ]


def expected_vector(
    told: Sequence[Interaction], context_of: Callable[[str], np.ndarray]
) -> np.ndarray | None:
    """The reader's vector by its definition."""
    rows: dict[str, Reading] = {}
    for one in told:
        rows[one.item_id] = rows.get(one.item_id, Reading()).merged(
            one.kind, to_micros(one.occurred_at), one.value
        )
    counted = {item: row for item, row in rows.items() if row.newest_at() is not None}
    if not counted:
        return None
    contexts = np.stack([context_of(item) for item in counted])
    weights = weights_of(counted.values(), WeightRule())
    return pool_reader(contexts, weights, [Block(start=0, dim=contexts.shape[1])])


def assert_vector(engine: Engine, space: str, user_id: str, expected: np.ndarray | None) -> None:
    with read_connection(engine) as connection:
        found = stored_vector(connection, space, user_id)
    if expected is None:
        assert found is None
    else:
        assert found == pytest.approx(expected, abs=1e-5)


@contextmanager
def killed_at(engine: Engine, statement: int) -> Iterator[list[int]]:
    """Ends the process at the n-th statement of any connection; yields how many were begun."""
    begun = [0]

    def count(*_: object) -> None:
        begun[0] += 1
        if begun[0] == statement:
            raise Killed

    event.listen(engine, "before_cursor_execute", count)
    try:
        yield begun
    finally:
        event.remove(engine, "before_cursor_execute", count)


@bounded
@given(drawn=actions, data=st.data())
def test_any_order_repetition_and_replay_gives_the_vector_of_the_definition(
    served: Any, random_vector: Callable[[int], np.ndarray], drawn: list[Any], data: st.DataObject
) -> None:
    user_id = f"u{next(numbers)}"
    told = told_by(user_id, drawn)
    sent = data.draw(st.permutations(told + data.draw(st.lists(st.sampled_from(told), max_size=5))))
    cut = data.draw(st.integers(0, len(sent)))
    served.log.append([record_of(one) for one in sent[:cut]])
    served.settle()
    served.log.append([record_of(one) for one in sent[cut:]])
    served.settle()
    expected = expected_vector(told, lambda item: random_vector(int(item[1:])))
    assert_vector(served.engine, "s1", user_id, expected)


def rows_of(engine: Engine, user_id: str) -> list[tuple[Any, ...]]:
    with read_connection(engine) as connection:
        query = select(interactions).where(interactions.c.user_id == user_id).order_by(interactions.c.item_id)
        return [tuple(row) for row in connection.execute(query)]


def expected_row(user_id: str, item_id: str, merged: Reading) -> dict[str, Any]:
    times = {f"{kind}_at": moment for kind, moment in merged.times.items()}
    rest = {"rating_value": merged.rating, "newest_at": merged.newest_at()}
    return {"user_id": user_id, "item_id": item_id, **times, **rest}


def lose(engine: Engine, user_id: str, items: set[str]) -> None:
    """What a database that was restored from an older backup lacks: rows, vectors and positions."""
    with write_transaction(engine) as transaction:
        gone = (interactions.c.user_id == user_id) & interactions.c.item_id.in_(items)
        transaction.execute(delete(interactions).where(gone))
        transaction.execute(delete(user_vectors).where(user_vectors.c.user_id == user_id))
        transaction.execute(delete(positions).where(positions.c.topic == "interactions"))


@bounded
@given(drawn=actions, data=st.data())
def test_loss_followed_by_replay_gives_the_same_rows_and_vector(
    served: Any, random_vector: Callable[[int], np.ndarray], drawn: list[Any], data: st.DataObject
) -> None:
    user_id = f"u{next(numbers)}"
    told = told_by(user_id, drawn)
    cut = data.draw(st.integers(0, len(told)))
    served.log.append([record_of(one) for one in told[:cut]])
    served.settle()
    lost = data.draw(st.sets(st.sampled_from(told).map(lambda one: one.item_id)))
    lose(served.engine, user_id, lost)
    served.log.append([record_of(one) for one in data.draw(st.permutations(told))])
    served.restart()
    served.settle()
    after = rows_of(served.engine, user_id)
    lose(served.engine, user_id, {one.item_id for one in told})
    served.restart()
    served.settle()
    assert rows_of(served.engine, user_id) == after
    merged: dict[str, Reading] = {}
    for one in told:
        before = merged.get(one.item_id, Reading())
        merged[one.item_id] = before.merged(one.kind, to_micros(one.occurred_at), one.value)
    assert {row[1]: row for row in after} == {
        item: tuple(expected_row(user_id, item, row).get(column.name) for column in interactions.c)
        for item, row in merged.items()
    }
    assert_vector(
        served.engine, "s1", user_id, expected_vector(told, lambda item: random_vector(int(item[1:])))
    )


@bounded
@given(drawn=actions, item=st.integers(0, 5))
def test_a_like_that_is_taken_back_leaves_the_weights_and_the_vector(
    served: Any, drawn: list[Any], item: int
) -> None:
    user_id = f"u{next(numbers)}"
    told = told_by(user_id, [one for one in drawn if one[1] not in ("like", "unlike")])
    served.log.append([record_of(one) for one in told])
    served.settle()
    before = served.client.get(f"/v1/users/{user_id}/vector").json()
    for kind, day in (("like", 8), ("unlike", 9)):
        served.log.append([record_of(one) for one in told_by(user_id, [(item, kind, day, 0.0)])])
        served.settle()
    after = served.client.get(f"/v1/users/{user_id}/vector").json()
    assert after["readings"] == before["readings"]
    assert (after["vector"] is None) == (before["vector"] is None)
    if before["vector"] is not None:
        assert after["vector"] == pytest.approx(before["vector"], abs=1e-5)


def test_a_consumer_killed_between_any_two_statements_counts_every_event_once(
    served: Any, random_vector: Callable[[int], np.ndarray]
) -> None:
    kinds = [("read", None), ("like", None), ("unlike", None), ("rating", 4.0), ("comment", None)]
    for statement in itertools.count(1):
        user_id = f"killed{statement}"
        told = [
            Interaction(
                user_id=user_id, item_id=f"p{n}", kind=kind, occurred_at=from_micros(BASE + n), value=value
            )
            for n, (kind, value) in enumerate(kinds)
        ]
        served.log.append([record_of(one) for one in told])
        with killed_at(served.engine, statement) as begun:
            try:
                served.settle()
                survived = True
            except Killed:
                survived = False
        served.restart()
        served.settle()
        assert_vector(
            served.engine, "s1", user_id, expected_vector(told, lambda item: random_vector(int(item[1:])))
        )
        with read_connection(served.engine) as connection:
            rows = select(func.count()).select_from(interactions).where(interactions.c.user_id == user_id)
            assert connection.scalar(rows) == len(told)
        if survived:
            break
    assert begun[0] > 8
    assert statement > 8


def test_a_consumer_that_lost_its_partition_cannot_write(served: Any) -> None:
    from nearfeed_runtime.consume import LostPartitionError

    slow = served.service.consumers[0]
    served.log.append([record_of(Interaction(user_id="u", item_id="p1", kind="read"))])
    messages = slow._subscription.poll(10, 0)
    served.restart()
    served.settle()
    slow._subscription.poll = lambda *_: messages
    with pytest.raises(LostPartitionError):
        slow.run_once(0)
    with read_connection(served.engine) as connection:
        own = positions.c.consumer_group == consuming.GROUP
        assert connection.scalar(select(positions.c.next_offset).where(own)) == 1


def test_what_cannot_be_read_goes_to_the_dead_topic_and_stops_nobody(served: Any) -> None:
    from nearfeed_contracts.event_log import Record

    served.log.append(
        [
            Record("interactions", "u", b"{broken"),
            Record("interactions", "u", b'{"type":"interaction","user_id":"u","item_id":"p1","kind":"kick"}'),
            Record(
                "interactions",
                "u",
                b'{"type":"interaction","user_id":"u","item_id":"p1","kind":"read",'
                b'"occurred_at":"0001-01-01T00:00:00+14:00"}',
            ),
            Record("interactions", "u", b'{"type":"item_vector","space":"s","item_id":"p","vector":{"a":1}}'),
            Record(
                "interactions", "u", b'{"type":"item_deleted","item_id":"p","version":9223372036854775808}'
            ),
            record_of(Interaction(user_id="dead", item_id="p1", kind="read")),
        ]
    )
    served.settle()
    assert served.log.end_offsets("interactions.dead") == {0: 5}
    with read_connection(served.engine) as connection:
        assert stored_vector(connection, "s1", "dead") is not None


@pytest.mark.parametrize("change", ["changed", "deleted"])
def test_a_context_that_changes_changes_its_readers(
    served: Any, random_vector: Callable[[int], np.ndarray], change: str
) -> None:
    told = told_by("u", [(1, "read", 0, 0), (2, "like", 1, 0)])
    served.log.append([record_of(one) for one in told])
    served.settle()
    served.set_vector("s1", "p2", random_vector(99) if change == "changed" else None, version=2)
    served.settle()
    if change == "deleted":
        expected = random_vector(1)
    else:
        expected = expected_vector(told, lambda item: random_vector(99 if item == "p2" else 1))
    assert_vector(served.engine, "s1", "u", expected)


def test_a_reading_of_an_unknown_post_counts_once_the_post_exists(
    served: Any, random_vector: Callable[[int], np.ndarray]
) -> None:
    served.log.append([record_of(Interaction(user_id="early", item_id="later", kind="read"))])
    served.settle()
    assert_vector(served.engine, "s1", "early", None)
    served.put_post("later")
    served.set_vector("s1", "later", random_vector(7))
    served.settle()
    assert_vector(served.engine, "s1", "early", random_vector(7))


def test_a_space_that_loads_gets_its_readers_and_a_dropped_one_loses_them(
    served: Any, random_vector: Callable[[int], np.ndarray]
) -> None:
    served.log.append([record_of(one) for one in told_by("u", [(1, "read", 0, 0)])])
    served.settle()
    served.add_space("s2", active=False)
    served.set_vector("s2", "p1", random_vector(50))
    served.set_loaded("s2")
    served.settle()
    assert_vector(served.engine, "s2", "u", random_vector(50))
    assert_vector(served.engine, "s1", "u", random_vector(1))
    served.drop_space("s2")
    served.settle()
    with read_connection(served.engine) as connection:
        assert set(connection.scalars(select(user_vectors.c.space))) == {"s1"}


def test_other_weights_renew_every_vector(served: Any, random_vector: Callable[[int], np.ndarray]) -> None:
    told = told_by("u", [(1, "read", 0, 0), (2, "like", 0, 0)])
    served.log.append([record_of(one) for one in told])
    served.settle()
    served.settings = served.settings.model_copy(update={"weights": {"read": 1.0, "like": 3.0}})
    served.restart()
    served.settle()
    expected = (random_vector(1) + 3 * random_vector(2)) / 4
    assert_vector(served.engine, "s1", "u", expected)


def test_an_erased_reader_stays_erased_under_replay(served: Any) -> None:
    told: list[Event] = list(told_by("gone", [(1, "read", 0, 0), (2, "like", 1, 0)]))
    erased = UserErased(user_id="gone", erased_at=from_micros(BASE + 2 * DAY))
    later = told_by("gone", [(3, "read", 5, 0)])
    served.log.append([record_of(one) for one in [*told, erased]])
    served.settle()
    served.log.append([record_of(one) for one in [*told, *later]])
    served.settle()
    with read_connection(served.engine) as connection:
        rows = connection.scalars(select(interactions.c.item_id).where(interactions.c.user_id == "gone"))
        assert list(rows) == ["p3"]


def test_many_readers_in_one_batch_are_all_right_after_upkeep(
    served: Any, random_vector: Callable[[int], np.ndarray]
) -> None:
    told = [one for n in range(120) for one in told_by(f"many{n}", [(n % 20, "read", 0, 0)])]
    served.log.append([record_of(one) for one in told])
    served.settle()
    for n in range(120):
        assert_vector(served.engine, "s1", f"many{n}", random_vector(n % 20))
