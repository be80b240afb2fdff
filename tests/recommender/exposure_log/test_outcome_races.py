"""Consumers at once on MariaDB: whatever is written at the same time of one reader and post is joined."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, select

from nearfeed_contracts.events import Event, Impression, Interaction, Served, ServedItem, UserErased
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import outcomes, served_requests
from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender.exposure_log import store as served
from nearfeed_recommender.exposure_log.outcomes import AttributionSettings
from nearfeed_recommender.exposure_log.request_ids import new_nonce, sign_request_id
from nearfeed_recommender.users import consumer as consuming
from nearfeed_runtime.sql import committed, read_connection

ROUNDS = 15
SECRET = b"a test's secret"
JOINING = AttributionSettings(SECRET, HOUR_MICROS)
pytestmark = pytest.mark.parametrize(
    "database_url", [pytest.param("mariadb", marks=pytest.mark.server)], indirect=True
)


def handle(transaction: Connection, event: Event) -> None:
    for each in served.handlers(JOINING)[type(event)]:
        each(transaction, [event])


def at_once(world: Any, events: Sequence[Event]) -> None:
    """Each event in a transaction and a thread of its own, all begun together."""
    together = threading.Barrier(len(events))

    def write(event: Event) -> None:
        together.wait(30)
        if isinstance(event, UserErased):
            committed(world.engine, lambda taken: consuming.erase_readers(JOINING, taken, [event]))
        else:
            committed(world.engine, lambda taken: handle(taken, event))

    with ThreadPoolExecutor(len(events)) as threads:
        list(threads.map(write, events))


def served_to(user: str, item: str) -> Served:
    now = now_micros()
    return Served(
        request_id=sign_request_id(SECRET, user, now, 0, (), new_nonce()),
        user_id=user,
        served_at=datetime.now(UTC),
        section="feed",
        provider="personal",
        config_version=0,
        items=(ServedItem(item_id=item, position=0, source="s", score=0.0),),
    )


def test_an_action_finds_the_impression_and_the_answer_that_come_with_it(world: Any) -> None:
    for number in range(ROUNDS):
        right, wrong = served_to(f"u{number}", "p"), served_to(f"u{number}", "other")
        told = {"user_id": right.user_id, "item_id": "p"}
        at_once(
            world,
            [
                Impression(**told, request_id=right.request_id, occurred_at=right.served_at),
                Impression(**told, request_id=wrong.request_id),
                Interaction(**told, kind="click"),
                right,
                wrong,
            ],
        )
    with read_connection(world.engine) as connection:
        rows = connection.execute(select(outcomes)).all()
    assert len(rows) == 3 * ROUNDS
    for kind, attributions in (("impression", ["explicit", "not_in_response"]), ("click", ["view_through"])):
        found = sorted(row.attribution for row in rows if row.kind == kind)
        assert found == sorted(attributions * ROUNDS)


def test_an_erasure_leaves_nothing_of_what_is_written_with_it(world: Any) -> None:
    for number in range(ROUNDS):
        answer = served_to(f"u{number}", "p")
        told = {"user_id": answer.user_id, "item_id": "p"}
        events = [answer, Interaction(**told, kind="click"), Interaction(**told, kind="read")]
        at_once(world, [*events, UserErased(user_id=answer.user_id, erased_at=datetime.now(UTC))])
    with read_connection(world.engine) as connection:
        assert connection.execute(select(outcomes)).all() == []
        assert connection.execute(select(served_requests)).all() == []
