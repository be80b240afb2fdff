"""Experiments over HTTP: designed, started, served by the feed and by pages, noted in the ledger, stopped."""

from typing import Any

import orjson
import pytest
from sqlalchemy import select

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import audit, outcomes, reader_units, served_requests
from nearfeed_recommender.experiments.bandit_features import DRAWN_BY
from nearfeed_recommender.experiments.monitor import watch
from nearfeed_recommender.experiments.records import experiment_of
from nearfeed_recommender.experiments.rewards import counts_by
from nearfeed_recommender.exposure_log.request_ids import read_request_id
from nearfeed_runtime.sql import read_connection

URL = "/v1/admin/experiments"
SAID = {"author": "Ann", "reason": "a test"}
DESIGN = {"target": "feed", "arms": {"control": None, "latest": "latest"}}


def make(world: Any, name: str = "trial", **changes: Any) -> dict[str, Any]:
    for method, path, body in (("PUT", name, DESIGN | changes), ("POST", f"{name}/start", None)):
        answer = world.client.request(method, f"{URL}/{path}", params=SAID, json=body)
        assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def rows(world: Any) -> list[Any]:
    world.settle()
    with read_connection(world.engine) as connection:
        return list(connection.execute(select(served_requests)))


def test_the_life_of_an_experiment(world: Any) -> None:
    found = make(world, traffic=0.25)
    assert (found["state"], found["target"], found["layer"], found["traffic"]) == (
        "running",
        "feed",
        "feed",
        0.25,
    )
    assert found["arms"][1] == {
        "name": "latest", "provider": "latest", "control": False, "share": 0.5, "stopped": None
    }  # fmt: skip
    grown = world.client.post(f"{URL}/trial/ramp", params={**SAID, "traffic": 0.5}).json()
    assert (grown["traffic"], grown["revision"]) == (0.5, found["revision"] + 1)
    assert world.client.get(f"{URL}/trial").json() == grown
    assert world.client.get(URL, params={"state": "running"}).json() == {"experiments": [grown]}
    ended = world.client.post(f"{URL}/trial/stop", params={**SAID, "adopted": "latest"}).json()
    assert (ended["state"], ended["stop_reason"], ended["adopted"]) == ("stopped", "a test", "latest")
    with read_connection(world.engine) as connection:
        told = connection.execute(select(audit.c.actor, audit.c.action)).all()
    assert told == [("anyone", f"experiments.{verb}") for verb in ("draft", "start", "ramp", "stop")]


@pytest.mark.parametrize(
    ("method", "path", "params", "body", "status", "field"),
    [
        ("PUT", "trial", SAID, DESIGN | {"arms": {"a": None, "b": "nobody"}}, 422, "arms.b"),
        ("PUT", "trial", SAID, DESIGN | {"armz": {}}, 422, "armz"),
        ("PUT", "trial", SAID, DESIGN | {"name": "other"}, 422, "name"),
        ("PUT", "trial", SAID, [], 422, "body"),
        ("PUT", "trial", {"reason": "r"}, DESIGN, 422, "author"),
        ("PUT", "a%20b", SAID, DESIGN, 422, "name"),
        ("GET", "none", {}, None, 404, None),
        ("POST", "none/start", SAID, None, 404, None),
        ("POST", "trial/ramp", SAID | {"traffic": 0.5}, None, 409, None),
        ("POST", "trial/ramp", SAID | {"traffic": 1.5}, None, 422, "traffic"),
        ("POST", "trial/arms/latest/stop", SAID, None, 409, None),
        ("POST", "trial/stop", SAID | {"adopt": "a"}, None, 422, "adopt"),
    ],
)
def test_what_is_wrong_is_told_by_its_field(
    world: Any, method: str, path: str, params: Any, body: Any, status: int, field: str | None
) -> None:
    world.client.put(f"{URL}/trial", params=SAID, json=DESIGN)
    answer = world.client.request(method, f"{URL}/{path}", params=params, json=body)
    assert answer.status_code == status, answer.text
    assert [fault["field"] for fault in answer.json()["errors"]] == ([field] if field else [])


def test_the_feed_is_served_by_its_arm(served: Any) -> None:
    make(served, holdout=0.2)
    for number in range(40):
        page = served.client.get("/v1/feed", params={"user_id": f"u{number}", "limit": 2}).json()
        served.client.get("/v1/feed", params={"user_id": f"u{number}", "cursor": page["next_cursor"]})
    noted = rows(served)
    providers = {"control": "personal", "latest": "latest", "holdout": "personal"}
    chances = {"control": 0.4, "latest": 0.4, "holdout": 0.2}
    assert {row.arm for row in noted} == set(providers)
    fallback = "popular-and-latest"
    for row in noted:
        assert row.provider in (providers[row.arm], fallback if row.arm != "latest" else "latest")
        assert (row.experiment, row.propensity, row.unit_id) == (
            "trial",
            pytest.approx(chances[row.arm]),
            None,
        )
        assert row.took_ms > 0
    with read_connection(served.engine) as connection:
        experiment = experiment_of(connection, "trial")
    for row in noted:
        read = read_request_id(served.answers.feed.secret, row.user_id, row.request_id)
        assert read is not None
        assert read.arms == ((experiment.number, experiment.arms.index(row.arm)),)


def test_a_bandit_learns_by_the_readings_that_it_drew_by(served: Any) -> None:
    make(served, allocation={"type": "lints", "delay_minutes": 0})
    for item in ("p1", "p2", "p3"):
        event = {"user_id": "ann", "item_id": item, "kind": "read"}
        assert served.client.post("/v1/events", json=event).status_code == 202
    served.settle()
    for item in ("p1", "p2", "p3"):
        assert served.client.delete(f"/v1/items/{item}").status_code == 204
    for url in ("/v1/feed", "/v1/pages/home"):
        served.client.get(url, params={"user_id": "ann"})
    (noted,) = [row for row in rows(served) if row.experiment]
    known = orjson.loads(noted.reader)
    assert (known["readings"], known[DRAWN_BY]) == (0, 3)
    with read_connection(served.engine) as connection:
        (counted,) = counts_by(
            connection, experiment_of(connection, "trial"), now_micros() + 1, "arm", "readings"
        )
    assert counted["readings"] == 3


def test_sections_of_a_page_are_served_by_their_arms(served: Any) -> None:
    target = {"page": "home", "section": "popular"}
    make(served, target=target, arms={"control": None, "latest": "latest"})
    make(served, "other", target={"page": "home", "section": "for-you"}, arms={"a": "latest", "b": "popular"})
    seen = set()
    for number in range(12):
        page = served.client.get("/v1/pages/home", params={"user_id": f"u{number}"}).json()
        noted = {row.section: row for row in rows(served) if row.request_id == page["request_id"]}
        shown = {section["name"]: section["provider"] for section in page["sections"]}
        popular = noted["popular"]
        expected = {"control": "popular", "latest": "latest"}[popular.arm]
        assert popular.experiment == "trial"
        assert shown["popular"] == expected
        seen.add(popular.arm)
    assert seen == {"control", "latest"}


def test_nobody_pays_where_no_experiment_runs(served: Any) -> None:
    make(served, target={"page": "home", "section": "popular"}, arms={"control": None, "latest": "latest"})
    served.client.get("/v1/feed", params={"user_id": "u"})
    assert [(row.experiment, row.arm) for row in rows(served)] == [(None, None)]


def test_a_reader_who_signs_in_keeps_their_arm(served: Any) -> None:
    make(served)
    first = served.client.get("/v1/feed", params={"user_id": "phone"}).json()
    assert served.client.put("/v1/users/ann/anonymous/phone").status_code == 204
    served.answers.feed.ranker.experiments.refresh()
    second = served.client.get("/v1/feed", params={"user_id": "ann"}).json()
    noted = {row.request_id: row for row in rows(served)}
    assert noted[first["request_id"]].arm == noted[second["request_id"]].arm
    assert noted[second["request_id"]].unit_id == "phone"
    assert served.client.delete("/v1/users/phone").status_code == 202
    assert [row.unit_id for row in rows(served)] == [None]
    with read_connection(served.engine) as connection:
        assert connection.execute(select(reader_units)).all() == []


@pytest.mark.parametrize("first", ["phone", "ann"])
def test_what_was_told_under_one_id_of_an_answer_to_the_other_counts(served: Any, first: str) -> None:
    make(served)
    second = "ann" if first == "phone" else "phone"
    served.client.get("/v1/feed", params={"user_id": first})
    answer = served.client.get("/v1/feed", params={"user_id": second, "limit": 1}).json()
    click = {"user_id": first, "kind": "click", "request_id": answer["request_id"]}
    served.client.post("/v1/events", json={**click, "item_id": answer["items"][0]["id"]})
    served.settle()
    assert _attributions(served) == ["invalid_request_id"]
    assert served.client.put("/v1/users/ann/anonymous/phone").status_code == 204
    assert _attributions(served) == ["explicit"]


def _attributions(served: Any) -> list[str]:
    with read_connection(served.engine) as connection:
        return list(connection.scalars(select(outcomes.c.attribution)))


def test_two_arms_are_served_and_their_results_told(served: Any) -> None:
    make(served, guardrails=[{"metric": "hides_per_reader", "most_loss": 0.5}])
    told: dict[str, int] = {"impression": 0, "click": 0, "like": 0}
    for number in range(12):
        page = served.client.get("/v1/feed", params={"user_id": f"u{number}", "limit": 4}).json()
        for place, item in enumerate(page["items"]):
            for kind in ["impression", *(["click", "like"] if place == 1 else [])]:
                event = {"user_id": f"u{number}", "item_id": item["id"], "kind": kind}
                answer = served.client.post("/v1/events", json=event | {"request_id": page["request_id"]})
                assert answer.status_code == 202, answer.text
                told[kind] += 1
    served.settle()
    found = served.client.get(f"{URL}/trial/results")
    assert found.status_code == 200, found.text
    body = found.json()
    arms = {arm["arm"]: arm for arm in body["arms"]}
    assert arms.keys() == {"control", "latest"}
    assert sum(arm["readers"] for arm in arms.values()) == 12
    for kind, name in (("impression", "impressions"), ("click", "clicks"), ("like", "likes")):
        assert sum(arm[name] for arm in arms.values()) == told[kind]
    assert arms["latest"]["metrics"]["ctr"]["mean"] == 0.25
    assert arms["latest"]["metrics"]["depth"]["mean"] == 4
    assert body["verdict"] == "Too little is known of arm latest."
    assert [guardrail["broken"] for guardrail in body["guardrails"]] == [False]
    assert sum(day["requests"] for day in body["days"]) == 12
    assert watch(served.client.app.state.context.experiments, now_micros() + 600_000_000) == 1
    course = served.client.get(f"{URL}/trial/course").json()
    assert (course["metric"], [point["arm"] for point in course["points"]]) == ("ctr", ["control", "latest"])
    size = served.client.post(f"{URL}/size", json={"metric": "clicks_per_reader", "target": "feed"})
    assert size.status_code == 400
    value = served.client.post(f"{URL}/evaluate", json={"provider": "latest"})
    assert value.status_code == 400
    assert "window for outcomes has closed" in value.json()["detail"]
    assert served.client.get(f"{URL}/none/results").status_code == 404
