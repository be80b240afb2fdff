"""Pages: sections that are filled by providers, each source failing alone, every step explained."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from prometheus_client import REGISTRY

from nearfeed_contracts.runs import Manifest, RankedBatch, write_lists, write_manifest, write_neighbours
from nearfeed_contracts.vector_store import StoreUnavailableError
from nearfeed_recommender.pipeline.pipeline import Pipeline
from nearfeed_recommender.pipeline.sources.models import ItemToItem
from nearfeed_recommender.pipeline.sources.nearest import NearestToUser, SimilarToLast
from nearfeed_recommender.pipeline.sources.recent import Latest, Popular

SOURCES = {
    "vectors": NearestToUser,
    "similar": SimilarToLast,
    "neighbours": ItemToItem,
    "popular": Popular,
    "latest": Latest,
}
CONFIG = """
feed: personal
models:
  vectors: {kind: vectors}
  near: {kind: neighbours, run: near}
  chosen: {kind: lists, run: chosen}
providers:
  personal:
    sources:
      vectors: {type: vectors, model: vectors, weight: 2, deadline_ms: 1000}
      similar: {type: similar, model: vectors, deadline_ms: 1000}
      near: {type: neighbours, model: near, deadline_ms: 1000}
      popular: {type: popular, deadline_ms: 1000}
      latest: {type: latest, deadline_ms: 1000}
  chosen:
    sources:
      chosen: {type: lists, model: chosen}
      picks: {type: picks, items: [p7, p1, gone]}
    blend: {type: interleave}
  fresh:
    sources:
      latest: {type: latest, deadline_ms: 1000}
    rank: {type: formula, formula: "freshness + 2 * affinity"}
    slate: [{rule: at_most, of: community, n: 1, window: 2}]
pages:
  home:
    sections:
      - {name: picks, title: Picks, provider: chosen, limit: 3}
      - {name: for-you, title: For you, provider: personal, limit: 5}
      - {name: fresh, title: Fresh, provider: fresh, limit: 5}
"""


def write_run(served: Any, name: str, kind: str, rows: dict[str, list[str]]) -> None:
    url = f"{served.settings.runs_url}/{name}"
    owners = [owner for owner, items in rows.items() for _ in items]
    items = [item for listed in rows.values() for item in listed]
    ranks = np.array([rank for listed in rows.values() for rank, _ in enumerate(listed, start=1)], np.int64)
    write = write_neighbours if kind == "neighbours" else write_lists
    batch = RankedBatch(pa.array(owners), pa.array(items), ranks, (1 / ranks).astype(np.float32))
    write(url, [batch])
    write_manifest(url, Manifest(space=name, kind=kind, model=name, created_at=datetime.now(UTC)))  # type: ignore[arg-type]


def apply(served: Any, document: str) -> None:
    statement = {"author": "tester", "reason": "a test"}
    answer = served.client.put("/v1/admin/config", params=statement, json=yaml.safe_load(document))
    assert answer.status_code == 200, answer.text
    served.refresh()


@pytest.fixture
def home(served: Any) -> Any:
    """The page `home` for a reader `u` who has read p4 and p8."""
    write_run(served, "near", "neighbours", {"p4": ["p5", "p6"], "p8": ["p6", "p9"]})
    write_run(served, "chosen", "lists", {"u": ["p10", "p4", "p11"], "*": ["p12"]})
    served.settings = served.settings.model_copy(update={"feed_deadline_ms": 10_000})
    served.restart()
    apply(served, CONFIG)
    for item in ("p4", "p8"):
        event = {"user_id": "u", "item_id": item, "kind": "read"}
        assert served.client.post("/v1/events", json=event).status_code == 202
    served.settle()
    return served


def page(world: Any, user_id: str = "u", **params: Any) -> dict[str, Any]:
    answer = world.client.get("/v1/pages/home", params={"user_id": user_id, **params})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def sections_of(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {section["name"]: section for section in answer["sections"]}


def ids(section: dict[str, Any]) -> list[str]:
    return [item["id"] for item in section["items"]]


def test_all_sections_come_in_one_answer_without_repeats(home: Any) -> None:
    answer = page(home)
    sections = sections_of(answer)
    assert [section["name"] for section in answer["sections"]] == ["picks", "for-you", "fresh"]
    assert ids(sections["picks"]) == ["p10", "p7", "p11"]
    shown = [item for section in answer["sections"] for item in ids(section)]
    assert len(shown) == len(set(shown)) == 13
    assert not {"p4", "p8"} & set(shown)
    assert not any(section["degraded"] for section in answer["sections"])
    assert answer["config_version"] == 1


def test_an_unknown_page_names_the_known_ones(home: Any) -> None:
    answer = home.client.get("/v1/pages/away", params={"user_id": "u"})
    assert answer.status_code == 404
    assert "home" in answer.json()["detail"]


def test_slate_rules_hold_in_a_section(home: Any) -> None:
    communities = [item["community_id"] for item in sections_of(page(home))["fresh"]["items"]]
    assert all(one != other for one, other in pairwise(communities))


def test_every_item_tells_source_rank_and_score_of_each_step(home: Any) -> None:
    answer = page(home, explain=True)
    sections = sections_of(answer)
    for item in sections["for-you"]["items"]:
        steps = {step["step"]: step for step in item["explain"]}
        brought = [name for name in steps if name.startswith("source:")]
        assert f"source:{item['source']}" in brought
        assert steps["blend"]["score"] == pytest.approx(
            sum((2 if name == "source:vectors" else 1) / (60 + steps[name]["rank"]) for name in brought)
        )
    assert all({"blend", "rank"} <= {s["step"] for s in i["explain"]} for i in sections["fresh"]["items"])
    assert all(item["explain"] is None for item in page(home)["sections"][0]["items"])
    feed = home.client.get("/v1/feed", params={"user_id": "u", "limit": 3, "explain": True}).json()
    later = {"user_id": "u", "limit": 3, "explain": True, "cursor": feed["next_cursor"]}
    for item in [*feed["items"], *home.client.get("/v1/feed", params=later).json()["items"]]:
        assert "blend" in {step["step"] for step in item["explain"]}


def test_the_same_source_is_fetched_once_a_page(home: Any) -> None:
    def fetched(kind: str) -> float:
        return REGISTRY.get_sample_value("nearfeed_source_seconds_count", {"type": kind}) or 0.0

    before = {kind: fetched(kind) for kind in ("latest", "vectors", "similar")}
    page(home)
    assert {kind: fetched(kind) - count for kind, count in before.items()} == {
        "latest": 1,
        "vectors": 1,
        "similar": 1,
    }


@pytest.fixture
def break_source(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Lets all sources of a type fail, or be silent until the test is over."""
    over = threading.Event()

    def fail(*_: object) -> None:
        raise RuntimeError("a fault that tells of 'inner' matters")

    def be_silent(*_: object) -> None:
        over.wait(60)

    def do(kind: str, how: str) -> None:
        monkeypatch.setattr(SOURCES[kind], "fetch", fail if how == "down" else be_silent)

    yield do
    over.set()


@pytest.mark.parametrize("how", ["down", "slow"])
@pytest.mark.parametrize("kind", SOURCES)
def test_without_one_source_the_others_answer_and_it_is_marked(
    home: Any, break_source: Callable[[str, str], None], kind: str, how: str
) -> None:
    names = {"neighbours": "near"}
    break_source(kind, how)
    section = sections_of(page(home))["for-you"]
    assert len(section["items"]) == 5
    assert section["degraded"]
    assert list(section["failures"]) == [names.get(kind, kind)]
    told = section["failures"][names.get(kind, kind)]
    assert ("1000 ms" in told) if how == "slow" else ("inner" not in told)
    feed = home.client.get("/v1/feed", params={"user_id": "u"}).json()
    assert (feed["degraded"], len(feed["items"])) == (True, 18)


def test_a_model_whose_run_is_gone_or_broken_fails_its_source_alone(home: Any) -> None:
    home.restart()
    answer = sections_of(page(home))
    assert "near" not in answer["for-you"]["failures"] or answer["for-you"]["items"]
    home.answers.feed.ranker.config.refresh()
    first = sections_of(page(home))
    assert "it is being read" in first["for-you"]["failures"]["near"]
    home.answers.models.refresh()
    assert not sections_of(page(home))["for-you"]["failures"]


def test_a_broken_run_keeps_no_other_model_away(home: Any) -> None:
    folder = home.settings.data_dir.absolute() / "runs" / "half"
    folder.mkdir()
    (folder / "manifest.json").write_text("{")
    home.restart()
    home.answers.models.refresh()
    assert set(home.answers.models.loaded()) == {"near", "chosen"}
    assert not sections_of(page(home))["for-you"]["failures"]


def test_popular_posts_of_a_small_community_are_known(home: Any) -> None:
    home.put_post("tiny", "hamlet")
    for reader, item in (("a", "p1"), ("b", "p1"), ("c", "tiny")):
        event = {"user_id": reader, "item_id": item, "kind": "read"}
        assert home.client.post("/v1/events", json=event).status_code == 202
    home.settle()
    home.client.put("/v1/users/villager/communities/hamlet")
    feed = home.client.get("/v1/feed", params={"user_id": "villager"}).json()
    assert [(item["id"], item["source"]) for item in feed["items"]][:1] == [("tiny", "popular")]


def test_a_muted_topic_does_not_empty_the_latest(home: Any) -> None:
    for number in range(30):
        home.put_post(f"loud{number}", tags=["noise"])
    home.client.put("/v1/users/quiet/controls/mute/noise")
    document = yaml.safe_load(CONFIG)
    document["providers"]["fresh"] = {"sources": {"latest": {"type": "latest", "limit": 15}}}
    apply(home, yaml.safe_dump(document))
    section = sections_of(page(home, "quiet"))["fresh"]
    assert len(section["items"]) == 5


def test_a_section_fails_alone(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Pipeline.run

    def fail_for_one(self: Pipeline, *arguments: Any, **more: Any) -> Any:
        if self.name == "personal":
            raise RuntimeError("inner matters")
        return run(self, *arguments, **more)

    monkeypatch.setattr(Pipeline, "run", fail_for_one)
    sections = sections_of(page(home))
    assert sections["for-you"]["items"] == []
    assert sections["for-you"]["failures"] == {"section": "the section has failed"}
    assert len(sections["picks"]["items"]) == 3
    assert len(sections["fresh"]["items"]) == 5


def test_filters_that_a_provider_leaves_out_do_not_hold_and_controls_always_do(home: Any) -> None:
    document = yaml.safe_load(CONFIG)
    document["providers"]["chosen"]["filters"] = ["date"]
    apply(home, yaml.safe_dump(document))
    assert home.client.put("/v1/users/u/communities/c1").status_code == 204
    sections = sections_of(page(home))
    assert ids(sections["picks"]) == ["p10", "p7", "p4"]
    assert {item["community_id"] for item in sections["for-you"]["items"]} == {"c1"}
    assert home.client.put("/v1/users/u/controls/less/p4").status_code == 204
    assert ids(sections_of(page(home))["picks"]) == ["p10", "p7", "p11"]
    assert home.client.delete("/v1/items/p10").status_code == 204
    assert ids(sections_of(page(home))["picks"]) == ["p11", "p7", "p1"]


def test_without_the_store_sources_in_memory_still_answer(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object) -> None:
        raise StoreUnavailableError("the vector store is down")

    monkeypatch.setattr(home.store, "search", down)
    section = sections_of(page(home))["for-you"]
    assert set(section["failures"]) == {"vectors", "similar"}
    assert {item["source"] for item in section["items"]} <= {"near", "popular", "latest"}
    assert section["items"]
