"""What came of what was served, over the API: impressions, actions, erasure, age, what the ledger says."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select, update

from nearfeed_contracts.events import Interaction
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import interactions, outcomes, served_requests
from nearfeed_contracts.topics import record_of
from nearfeed_contracts.vector_store import StoreUnavailableError
from nearfeed_recommender.experiments.assignment import Assignment
from nearfeed_recommender.exposure_log import queries as ledger_views
from nearfeed_recommender.exposure_log import store as ledger
from nearfeed_recommender.exposure_log.request_ids import new_nonce, read_request_id, sign_request_id
from nearfeed_recommender.pipeline.candidates import nothing
from nearfeed_recommender.serving import exposure
from nearfeed_recommender.serving.exposure import Exposure
from nearfeed_recommender.serving.response import Order
from nearfeed_runtime.sql import read_connection, write_transaction


def feed(world: Any, user_id: str = "u") -> dict[str, Any]:
    return dict(world.client.get("/v1/feed", params={"user_id": user_id, "limit": 5}).json())


def tell(world: Any, *events: dict[str, Any], user_id: str = "u") -> None:
    body = {"events": [{"user_id": user_id, **event} for event in events]}
    answer = world.client.post("/v1/events", json=body)
    assert (answer.status_code, answer.json()) == (202, {"accepted": len(events)}), answer.text
    world.settle()


def rows(world: Any, table: Any = outcomes) -> list[Any]:
    with read_connection(world.engine) as connection:
        return list(connection.execute(select(table).order_by(*table.primary_key)))


def ledger_of(world: Any, path: str = "") -> Any:
    answer = world.client.get(f"/v1/admin/ledger{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def unwritten(world: Any) -> str:
    """The id of an answer whose row was lost."""
    secret = world.settings.secret.encode()
    return sign_request_id(secret, "u", now_micros(), 0, (), new_nonce())


def test_request_ids_are_signed_over_reader_time_and_configuration(served: Any) -> None:
    answer = feed(served)
    served.settle()
    (row,) = rows(served, served_requests)
    read = read_request_id(served.settings.secret.encode(), "u", answer["request_id"])
    assert read is not None
    assert (read.served_at, read.config_version, read.arms) == (row.served_at, row.config_version, ())
    assert (row.state, row.experiment, row.propensity) == ("whole", None, None)
    assert row.took_ms > 0


def test_impressions_and_actions_come_together_and_impressions_make_no_reading(served: Any) -> None:
    answer = feed(served)
    seen, other = (item["id"] for item in answer["items"][:2])
    request_id = answer["request_id"]
    tell(
        served,
        {"item_id": seen, "kind": "impression", "request_id": request_id},
        {"item_id": other, "kind": "impression", "request_id": request_id},
        {"item_id": seen, "kind": "read", "request_id": request_id},
        {"item_id": other, "kind": "click"},
        {"item_id": "p0", "kind": "click", "request_id": "made-up"},
    )
    found = {(row.item_id, row.kind): row for row in rows(served)}
    assert found[seen, "impression"].attribution == found[seen, "read"].attribution == "explicit"
    click = found[other, "click"]
    assert (click.attribution, click.request_id) == ("view_through", request_id)
    assert click.impression_at == found[other, "impression"].occurred_at
    assert found["p0", "click"].attribution == "invalid_request_id"
    assert {row.item_id for row in rows(served, interactions)} == {seen, other, "p0"}


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"kind": "impression"}, "request_id"),
        ({"kind": "impression", "request_id": "x y"}, "request_id"),
        ({"kind": "impression", "request_id": "x", "value": 3}, "value"),
        ({"kind": "glimpse"}, "kind"),
    ],
)
def test_a_bad_impression_names_its_field(served: Any, event: dict[str, Any], field: str) -> None:
    events = [{"user_id": "u", "item_id": "p0", "kind": "click"}, {"user_id": "u", "item_id": "p0", **event}]
    answer = served.client.post("/v1/events", json={"events": events})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == f"events.1.{field}"


def test_an_impression_needs_a_post_that_is_known_and_a_time_that_has_come(served: Any) -> None:
    event = {"user_id": "u", "item_id": "nothing", "kind": "impression", "request_id": "x"}
    assert served.client.post("/v1/events", json=event).status_code == 404
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    late = served.client.post("/v1/events", json={**event, "item_id": "p0", "occurred_at": ahead})
    assert late.json()["errors"][0]["field"] == "occurred_at"


def test_outcomes_are_counted_once_by_kind_and_attribution(served: Any) -> None:
    def counted() -> float:
        labels = {"kind": "save", "attribution": "invalid_request_id"}
        return REGISTRY.get_sample_value("nearfeed_outcomes_total", labels) or 0.0

    before = counted()
    at = datetime.now(UTC).isoformat()
    for _ in range(2):
        tell(served, {"item_id": "p0", "kind": "save", "request_id": "made-up", "occurred_at": at})
    assert counted() == before + 1


def test_an_erased_reader_leaves_no_outcome_and_none_of_before_comes_back(served: Any) -> None:
    answer = feed(served)
    item = answer["items"][0]["id"]
    before = datetime.now(UTC)
    seen = {"item_id": item, "kind": "impression", "request_id": answer["request_id"]}
    tell(served, seen, {"item_id": item, "kind": "click"})
    tell(served, {"item_id": item, "kind": "click"}, user_id="v")
    assert served.client.delete("/v1/users/u").status_code == 202
    served.settle()
    assert {row.user_id for row in rows(served)} == {"v"}
    late = Interaction(user_id="u", item_id=item, kind="like", occurred_at=before)
    served.log.append([record_of(late)])
    tell(served, {**seen, "occurred_at": before.isoformat()})
    assert {row.user_id for row in rows(served)} == {"v"}
    tell(served, {"item_id": item, "kind": "share"})
    assert [(row.kind, row.attribution) for row in rows(served) if row.user_id == "u"] == [
        ("share", "unattributed")
    ]


def test_outcomes_older_than_thirty_days_are_pruned(served: Any) -> None:
    tell(served, {"item_id": "p0", "kind": "click"}, {"item_id": "p1", "kind": "click"})
    with write_transaction(served.engine) as transaction:
        old = now_micros() - 31 * 86_400_000_000
        transaction.execute(update(outcomes).where(outcomes.c.item_id == "p0").values(occurred_at=old))
    ledger.prune_all(served.engine)
    assert [row.item_id for row in rows(served)] == ["p1"]


def test_the_ledger_tells_of_an_answer_and_what_came_of_it(served: Any) -> None:
    answer = feed(served)
    seen = answer["items"][1]["id"]
    shown = [item["id"] for item in answer["items"]]
    stranger = next(f"p{number}" for number in range(20) if f"p{number}" not in shown)
    request_id = answer["request_id"]
    tell(
        served,
        {"item_id": seen, "kind": "impression", "request_id": request_id},
        {"item_id": seen, "kind": "rating", "value": 4},
        {"item_id": stranger, "kind": "click", "request_id": request_id},
    )
    told = ledger_of(served, f"/{request_id}")
    assert (told["request_id"], told["user_id"], told["genuine"]) == (request_id, "u", True)
    (section,) = told["sections"]
    assert (section["section"], section["provider"], section["state"]) == (
        "feed",
        "popular-and-latest",
        "whole",
    )
    assert [item["item_id"] for item in section["items"]] == shown
    came = [[(one["kind"], one["attribution"]) for one in item["outcomes"]] for item in section["items"]]
    assert came == [[], [("impression", "explicit"), ("rating", "view_through")], [], [], []]
    assert [(one["item_id"], one["attribution"]) for one in told["others"]] == [(stranger, "not_in_response")]


def test_of_a_lost_answer_the_ledger_knows_what_came_of_it(served: Any) -> None:
    request_id = unwritten(served)
    tell(served, {"item_id": "p0", "kind": "click", "request_id": request_id})
    told = ledger_of(served, f"/{request_id}")
    assert (told["genuine"], told["sections"], told["user_id"]) == (True, [], "u")
    assert [one["attribution"] for one in told["others"]] == ["explicit"]
    missing = served.client.get("/v1/admin/ledger/made-up")
    assert missing.status_code == 404


def test_the_summary_counts_answers_outcomes_and_what_is_lost(served: Any) -> None:
    answer = feed(served)
    feed(served, "v")
    item = answer["items"][0]["id"]
    seen = {"item_id": item, "kind": "impression", "request_id": answer["request_id"]}
    ago = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    tell(
        served,
        seen,
        {"item_id": item, "kind": "click"},
        {"item_id": item, "kind": "like", "occurred_at": ago},
    )
    tell(served, {"item_id": "p0", "kind": "read", "request_id": unwritten(served), "occurred_at": ago})
    told = ledger_of(served, "?hours=1")
    assert (told["answers"], told["sections"], told["lost"], told["missing"]) == (2, 2, {}, 1)
    assert told["impressions"] == {"explicit": 1}
    assert told["actions"] == {"view_through": 1, "unattributed": 1, "explicit": 1}
    ledger_views.update_missing_gauge(served.engine)
    assert REGISTRY.get_sample_value("nearfeed_served_missing") == 1


def test_what_could_not_be_told_is_in_the_summary(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = served.answers.feed.exposures.log
    with monkeypatch.context() as patch:
        patch.setattr(exposure, "_record", lambda *_: 1 / 0)
        feed(served)
    ended = threading.Event()
    ended.set()
    notes.run(ended)
    assert ledger_of(served)["lost"] == {"failed": 1}
    notes.run(ended)
    assert ledger_of(served)["lost"] == {"failed": 1}


def test_a_feed_that_did_without_a_source_is_noted_as_degraded(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailableError("the store is away")

    tell(served, {"item_id": "p0", "kind": "read"})
    monkeypatch.setattr(served.store, "search", away)
    assert feed(served)["degraded"]
    served.settle()
    assert [row.state for row in rows(served, served_requests)] == ["degraded"]


def test_an_answer_of_an_experiment_is_noted_also_where_it_failed(served: Any) -> None:
    exposures, query = served.answers.feed.exposures, served.answers.feed.hydrator.query("u")
    arm = Assignment("colour", 1, "red", 0, None, 0.25, "unit")
    asked = Exposure(unwritten(served), "home", "top", "odd", 3, 0, 0.0, arm)
    with pytest.raises(ZeroDivisionError), exposures.failure_recorded(query, asked):
        raise ZeroDivisionError
    later = replace(asked, start=5, state="degraded")
    exposures.record(query, later, Order(nothing(()), ()), (), None)
    alone = Exposure(unwritten(served), "home", "top", "odd", 3, 0, 0.0)
    exposures.record(query, alone, Order(nothing(()), ()), (), None)
    served.settle()
    (row,) = rows(served, served_requests)
    assert (row.page, row.section, row.provider, row.state) == ("home", "top", "odd", "failed")
    assert (row.experiment, row.arm, row.propensity, row.unit_id) == ("colour", "red", 0.25, "unit")


def test_whoever_of_a_group_told_it_an_answer_is_known_while_they_belong_together(served: Any) -> None:
    def attributions() -> list[str]:
        return [row.attribution for row in rows(served) if row.user_id == "phone"]

    answer = feed(served, "tablet")
    served.settle()
    assert served.client.put("/v1/users/ann/anonymous/phone").status_code == 204
    click = {"item_id": answer["items"][0]["id"], "kind": "click", "request_id": answer["request_id"]}
    tell(served, click, user_id="phone")
    assert attributions() == ["invalid_request_id"]
    assert served.client.put("/v1/users/ann/anonymous/tablet").status_code == 204
    assert attributions() == ["explicit"]
    assert served.client.delete("/v1/users/tablet").status_code == 202
    assert attributions() == ["invalid_request_id"]
