"""Readers who begin anew, or are erased: it holds in the next answer, and whatever the log brings after."""

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from nearfeed_contracts.events import KINDS, Interaction, ReaderReset, UserErased
from nearfeed_contracts.fields import from_micros, now_micros, to_micros
from nearfeed_contracts.runs import Block, Manifest, RankedBatch, write_lists, write_manifest
from nearfeed_contracts.tables import (
    erased_users,
    feed_pages,
    interactions,
    outcomes,
    reader_resets,
    user_vectors,
)
from nearfeed_contracts.topics import record_of
from nearfeed_core.pooling import pool_reader
from nearfeed_core.readings import EXCLUDING, Reading, WeightRule, weights_of
from nearfeed_recommender.serving.rankings import Ranking, Rankings
from nearfeed_recommender.users.reset_marks import put_reset
from nearfeed_recommender.users.user_vectors import stored_vector
from nearfeed_runtime.sql import read_connection, write_transaction

BASE = 1_700_000_000_000_000
DAY = 86_400_000_000
MIDDLE = 3
numbers = itertools.count()
bounded = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
actions = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(KINDS), st.integers(0, 6), st.sampled_from([1.0, 3.0, 5.0])),
    max_size=12,
)


def told_by(user: str, drawn: Sequence[tuple[int, Any, int, float]]) -> list[Interaction]:
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


def merged(told: Sequence[Interaction]) -> dict[str, Reading]:
    rows: dict[str, Reading] = {}
    for one in told:
        rows[one.item_id] = rows.get(one.item_id, Reading()).merged(
            one.kind, to_micros(one.occurred_at), one.value
        )
    return rows


def stored(world: Any, user: str) -> dict[str, Reading]:
    with read_connection(world.engine) as connection:
        rows = connection.execute(select(interactions).where(interactions.c.user_id == user)).mappings()
        return {
            row["item_id"]: Reading(
                {kind: row[f"{kind}_at"] for kind in KINDS if row[f"{kind}_at"] is not None},
                row["rating_value"],
            )
            for row in rows
        }


@bounded
@given(drawn=actions, data=st.data(), erased=st.booleans())
def test_what_was_done_after_it_alone_is_left_in_any_order_and_after_any_replay(
    served: Any,
    random_vector: Callable[[int], np.ndarray],
    drawn: list[Any],
    data: st.DataObject,
    erased: bool,
) -> None:
    user = f"u{next(numbers)}"
    told = told_by(user, drawn)
    moment = from_micros(BASE + MIDDLE * DAY)
    wish = (
        UserErased(user_id=user, erased_at=moment) if erased else ReaderReset(user_id=user, reset_at=moment)
    )
    events = [*told, wish]
    sent = data.draw(st.permutations(events))
    sent += data.draw(st.lists(st.sampled_from(events), max_size=6))
    cut = data.draw(st.integers(0, len(sent)))
    for some in (sent[:cut], sent[cut:]):
        served.log.append([record_of(one) for one in some])
        served.settle()
    rows = merged([one for one in told if one.occurred_at > moment])
    assert stored(served, user) == rows
    down = {one.item_id for one in told if one.kind in EXCLUDING and one.occurred_at <= moment and not erased}
    counted = {item: row for item, row in rows.items() if row.newest_at() is not None and item not in down}
    with read_connection(served.engine) as connection:
        vector = stored_vector(connection, "s1", user)
        resets = connection.scalar(select(func.count()).where(reader_resets.c.user_id == user))
    assert resets == (0 if erased else 1)
    if not counted:
        assert vector is None
        return
    contexts = np.stack([random_vector(int(item[1:])) for item in counted])
    weights = weights_of(counted.values(), WeightRule())
    assert vector == pytest.approx(pool_reader(contexts, weights, [Block(start=0, dim=4)]), abs=1e-5)


def ask(world: Any, path: str, **params: Any) -> dict[str, Any]:
    answer = world.client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def feed_of(world: Any, user: str) -> list[str]:
    return [item["id"] for item in ask(world, "/v1/feed", user_id=user, limit=100)["items"]]


def tell(world: Any, user: str, kind: str, *items: str, **more: Any) -> None:
    events = [{"user_id": user, "item_id": item, "kind": kind, **more} for item in items]
    assert world.client.post("/v1/events", json={"events": events}).status_code == 202


def reset(world: Any, user: str, **params: Any) -> None:
    assert world.client.post(f"/v1/users/{user}/reset", params=params).status_code == 204


@pytest.mark.parametrize("settled", [False, True], ids=["before the consumer", "after the consumer"])
@pytest.mark.parametrize("wish", ["reset", "erase"])
def test_the_next_answer_knows_nothing_of_before(served: Any, wish: str, settled: bool) -> None:
    tell(served, "u", "read", "p1", "p2", "p3")
    served.settle()
    personal = feed_of(served, "u")
    cursor = ask(served, "/v1/feed", user_id="u", limit=3)["next_cursor"]
    if wish == "reset":
        reset(served, "u")
    else:
        assert served.client.delete("/v1/users/u").status_code == 202
    if settled:
        served.settle()
    assert feed_of(served, "u") == feed_of(served, "nobody") != personal
    assert ask(served, "/v1/users/u/vector")["vector"] is None
    page = ask(served, "/v1/pages/home", user_id="u")
    assert page["sections"] == ask(served, "/v1/pages/home", user_id="nobody")["sections"]
    gone = served.client.get("/v1/feed", params={"user_id": "u", "cursor": cursor})
    assert gone.status_code == 410
    query = '{ reader(id: "u") { readings { kinds } } }'
    answer = served.client.post("/graphql", json={"query": query}).json()
    assert answer["data"]["reader"]["readings"] == []
    tell(served, "u", "read", "p4")
    served.settle()
    assert ask(served, "/v1/users/u/vector")["readings"] == [
        {"item_id": "p4", "title": "Post p4", "weight": 1.0}
    ]


def test_a_reset_leaves_what_was_set_unless_told_otherwise(served: Any) -> None:
    served.client.put("/v1/users/u/communities/c0")
    served.client.put("/v1/users/u/controls/block/foe")
    tell(served, "u", "hide", "p2")
    tell(served, "u", "report", "p4")
    tell(served, "u", "rating", "p6", value=1.0)
    served.settle()
    assert not {"p2", "p4", "p6"} & set(feed_of(served, "u"))
    reset(served, "u")
    for _ in range(2):
        controls = ask(served, "/v1/users/u/controls")["controls"]
        assert {(each["control"], each["target"]) for each in controls} == {
            ("block", "foe"),
            ("hide", "p2"),
            ("hide", "p4"),
        }
        assert set(feed_of(served, "u")) == {f"p{n}" for n in range(0, 20, 2)} - {"p2", "p4"}
        served.settle()
    assert stored(served, "u") == {}
    reset(served, "u", controls=True, memberships=True)
    assert ask(served, "/v1/users/u/controls")["controls"] == []
    assert ask(served, "/v1/users/u/communities")["communities"] == []
    assert len(feed_of(served, "u")) == 20


@pytest.mark.parametrize("kind", EXCLUDING)
def test_what_was_turned_down_just_before_a_reset_stays_away_unless_controls_go(
    served: Any, kind: str
) -> None:
    tell(served, "u", kind, "p2")
    reset(served, "u")
    served.settle()
    controls = ask(served, "/v1/users/u/controls")["controls"]
    assert [(each["control"], each["target"]) for each in controls] == [("hide", "p2")]
    assert "p2" not in feed_of(served, "u")
    tell(served, "u", kind, "p4")
    reset(served, "u", controls=True)
    served.settle()
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    tell(served, "u", kind, "p6", occurred_at=past)
    served.settle()
    assert ask(served, "/v1/users/u/controls")["controls"] == []
    assert len(feed_of(served, "u")) == 20


def test_a_control_that_was_lifted_before_the_consumer_saw_the_reset_stays_lifted(served: Any) -> None:
    tell(served, "u", "hide", "p2")
    served.settle()
    reset(served, "u")
    assert served.client.delete("/v1/users/u/controls/hide/p2").status_code == 204
    served.settle()
    assert ask(served, "/v1/users/u/controls")["controls"] == []


@pytest.mark.parametrize("wish", ["reset", "erase"])
def test_a_ranking_of_before_that_is_kept_after_it_is_gone(served: Any, wish: str) -> None:
    cursor = ask(served, "/v1/feed", user_id="u", limit=3)["next_cursor"]
    served.answers.rankings.flush()
    with read_connection(served.engine) as connection:
        (kept,) = connection.execute(select(feed_pages)).mappings().all()
    if wish == "reset":
        reset(served, "u")
    else:
        served.client.delete("/v1/users/u")
    with write_transaction(served.engine) as transaction:
        transaction.execute(feed_pages.insert().values(**kept))
    gone = served.client.get("/v1/feed", params={"user_id": "u", "cursor": cursor})
    assert gone.status_code == 410
    served.settle()
    with read_connection(served.engine) as connection:
        left = len(connection.execute(select(feed_pages)).all())
    assert left == (1 if wish == "reset" else 0)
    again = ask(served, "/v1/feed", user_id="u", limit=3)["next_cursor"]
    assert len(ask(served, "/v1/feed", user_id="u", limit=3, cursor=again)["items"]) == 3


@pytest.mark.parametrize("wish", ["reset", "erase"])
def test_a_ranking_of_before_that_waits_to_be_written_is_gone(served: Any, wish: str) -> None:
    cursor = ask(served, "/v1/feed", user_id="u", limit=3)["next_cursor"]
    other = ask(served, "/v1/feed", user_id="v", limit=3)["next_cursor"]
    if wish == "reset":
        reset(served, "u")
    else:
        assert served.client.delete("/v1/users/u").status_code == 202
    served.answers.rankings.flush()
    with read_connection(served.engine) as connection:
        assert connection.scalars(select(feed_pages.c.user_id)).all() == ["v"]
    gone = served.client.get("/v1/feed", params={"user_id": "u", "cursor": cursor})
    assert gone.status_code == 410
    assert len(ask(served, "/v1/feed", user_id="v", limit=3, cursor=other)["items"]) == 3


def test_a_ranking_is_as_old_as_what_was_read_for_it(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Rankings.put

    def reset_first(self: Rankings, ranking: Ranking) -> None:
        with write_transaction(served.engine) as transaction:
            put_reset(transaction, "u", now_micros(), controls=False)
        put(self, ranking)

    monkeypatch.setattr(Rankings, "put", reset_first)
    cursor = ask(served, "/v1/feed", user_id="u", limit=3)["next_cursor"]
    gone = served.client.get("/v1/feed", params={"user_id": "u", "cursor": cursor})
    assert gone.status_code == 410


@pytest.mark.parametrize("wish", ["reset", "erase"])
def test_what_a_fast_clock_told_before_it_is_void(served: Any, wish: str) -> None:
    ahead = (datetime.now(UTC) + timedelta(minutes=4)).isoformat()
    tell(served, "u", "read", "p1", occurred_at=ahead)
    if wish == "reset":
        reset(served, "u")
    else:
        served.client.delete("/v1/users/u")
    served.settle()
    assert stored(served, "u") == {}
    with read_connection(served.engine) as connection:
        known = connection.execute(select(outcomes)).all()
    assert len(known) == (1 if wish == "reset" else 0)


def test_late_events_of_before_and_a_later_reset_of_less_change_nothing(served: Any) -> None:
    tell(served, "u", "read", "p1")
    reset(served, "u")
    reset(served, "u")
    served.settle()
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    tell(served, "u", "like", "p2", occurred_at=past)
    served.log.append([record_of(ReaderReset(user_id="u", reset_at=from_micros(BASE)))])
    served.settle()
    assert stored(served, "u") == {}
    tell(served, "u", "like", "p3")
    served.settle()
    assert stored(served, "u").keys() == {"p3"}


def test_a_replayed_reset_of_an_erased_reader_brings_no_row_back(served: Any) -> None:
    reset(served, "u")
    assert served.client.delete("/v1/users/u").status_code == 202
    served.settle()
    served.log.append([record_of(ReaderReset(user_id="u", reset_at=from_micros(now_micros() - 60_000_000)))])
    served.settle()
    with read_connection(served.engine) as connection:
        for table in (reader_resets, user_vectors, interactions):
            assert connection.execute(select(table).where(table.c.user_id == "u")).all() == []
        assert connection.scalar(select(func.count()).select_from(erased_users)) == 1


@pytest.mark.parametrize("wish", ["reset", "erase"])
def test_a_list_that_was_made_of_readings_before_is_their_list_no_more(served: Any, wish: str) -> None:
    url = f"{served.settings.runs_url}/chosen"
    owners, items = ["u", "u", "*"], ["p10", "p11", "p12"]
    ranks = np.array([1, 2, 1], np.int64)
    write_lists(url, [RankedBatch(pa.array(owners), pa.array(items), ranks, np.ones(3, np.float32))])
    write_manifest(url, Manifest(space="chosen", kind="lists", model="chosen", created_at=datetime.now(UTC)))
    config = yaml.safe_load(
        """
        feed: chosen
        models: {chosen: {kind: lists, run: chosen}}
        providers: {chosen: {sources: {chosen: {type: lists, model: chosen}}}}
        """
    )
    stated = {"author": "tester", "reason": "a test"}
    assert served.client.put("/v1/admin/config", params=stated, json=config).status_code == 200
    served.refresh()
    assert feed_of(served, "u") == ["p10", "p11"]
    if wish == "reset":
        reset(served, "u")
    else:
        served.client.delete("/v1/users/u")
    assert feed_of(served, "u") == ["p12"]
    served.settle()
    assert feed_of(served, "u") == ["p12"]
