"""Random walks as the recommender serves them."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import numpy as np
import pytest
from sqlalchemy import Engine

from nearfeed_contracts.events import KINDS
from nearfeed_contracts.fields import now_micros, to_micros
from nearfeed_contracts.runs import Manifest, Run, open_run, write_manifest
from nearfeed_contracts.tables import interactions
from nearfeed_core.pixie.building import Stored, build
from nearfeed_core.pixie.files import save
from nearfeed_core.pixie.ids import hashes_of
from nearfeed_recommender.models.walk_graph import WalkGraph
from nearfeed_recommender.models.walks import follow, load_graph
from recommender.conftest import World

LAST = datetime(2026, 1, 1, tzinfo=UTC)
NOW = to_micros(LAST)
SECOND = 1_000_000
# Two circles of readers, who share no post: even posts and odd ones.
EDGES = [(f"u{reader}", f"p{post}") for reader in range(12) for post in range(20) if (post - reader) % 2 == 0]


def stored(edges: list[tuple[str, str]]) -> Stored:
    readers, posts = (sorted({edge[side] for edge in edges}) for side in (0, 1))
    return build(
        np.array([posts.index(post) for _, post in edges], np.uint32),
        np.array([readers.index(reader) for reader, _ in edges], np.uint32),
        posts,
        hashes_of(readers),
    )


@pytest.fixture
def graph() -> Iterator[WalkGraph]:
    made = WalkGraph(stored(EDGES), data_last=LAST, compacted_at=30)
    yield made
    made.close()


def found(graph: WalkGraph, *read: str, **rule: object) -> list[str]:
    readings = [(item_id, 1.0) for item_id in read]
    return [hit.item_id for hit in graph.recommend(readings, **{"limit": 50, "steps": 2_000, **rule})]  # type: ignore[arg-type]


def test_what_the_same_circle_reads_is_recommended(graph: WalkGraph) -> None:
    even = {f"p{post}" for post in range(0, 20, 2)}
    assert set(found(graph, "p0", "p2")) == even - {"p0", "p2"}
    assert set(found(graph, "p0", exclude={"p4", "nowhere"})) == even - {"p0", "p4"}
    assert len(found(graph, "p0", limit=3)) == 3
    assert found(graph, "nowhere") == found(graph) == []
    hits = list(graph.recommend([("p0", 1.0), ("p1", 0.0)], limit=50))
    assert {hit.item_id for hit in hits} == even - {"p0"}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert hits == list(graph.recommend([("p0", 0.5), ("p0", 0.5), ("p1", 0.0)], limit=50))


def test_new_readers_and_posts_are_found_at_once_and_after_compacting(graph: WalkGraph) -> None:
    assert graph.add([("new", "p0"), ("new", "fresh"), ("u1", "fresh"), ("new", "p0")]) == 3
    assert graph.add([("new", "fresh")]) == graph.add([]) == 0
    for _ in range(2):
        assert "fresh" in found(graph, "p0")
        assert {"p0", "p1"} <= set(found(graph, "fresh"))
        graph.add([(f"later{number}", "fresh") for number in range(40)])
        graph.compact_if_due()


def test_it_is_compacted_when_enough_was_added(graph: WalkGraph) -> None:
    graph.add([(f"later{number}", "p0") for number in range(29)])
    assert not graph.compact_if_due()
    graph.add([("more", "p0")])
    before = found(graph, "p0")
    assert graph.compact_if_due()
    assert not graph.compact_if_due()
    assert found(graph, "p0") == before


def written(url: str) -> Run:
    save(stored(EDGES), f"{url}/graph")
    now = datetime.now(UTC)
    manifest = Manifest(space="walks", kind="graph", model="random-walk", created_at=now)
    write_manifest(url, manifest.model_copy(update={"data": manifest.data.model_copy(update={"last": LAST})}))
    return open_run(url)


def test_a_run_is_loaded_from_here_and_from_elsewhere(tmp_path: Path, graph: WalkGraph) -> None:
    for url in (tmp_path.as_uri(), "memory://walks"):
        loaded = load_graph(written(url))
        assert loaded.data_last == LAST
        assert found(loaded, "p0", "p3") == found(graph, "p0", "p3")
        assert loaded.add([("new", "p0"), ("new", "p1")]) == 2
        loaded.close()
    fsspec.filesystem("memory").rm("/walks", recursive=True)


def test_numba_is_imported_with_a_graph_alone() -> None:
    code = "import sys, nearfeed_recommender.models.walks; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@dataclass
class Source:
    """Rows of `interactions`, and whoever follows them."""

    engine: Engine

    def put(self, reader: str, item_id: str, newest_at: int | None) -> None:
        row = {f"{kind}_at": None for kind in KINDS} | {"user_id": reader, "item_id": item_id}
        with self.engine.begin() as transaction:
            transaction.execute(interactions.insert(), [row | {"rating_value": None, "newest_at": newest_at}])


def test_what_is_read_is_followed(world: World, graph: WalkGraph) -> None:
    source, poll = Source(world.engine), follow(world.engine, graph)
    source.put("u0", "p0", NOW)
    source.put("new", "p0", NOW - 60 * SECOND)
    source.put("new", "early", NOW - 3600 * SECOND)
    source.put("new", "hidden", None)
    assert poll() == 1
    assert poll() == 0
    source.put("new", "fresh", NOW + 100 * SECOND)
    assert poll() == 1
    assert "fresh" in found(graph, "p0")
    source.put("new", "late", NOW + 95 * SECOND)
    source.put("new", "later", NOW + 30 * SECOND)
    assert poll() == 1
    assert "late" in found(graph, "p0")
    assert "later" not in found(graph, "p0")
    assert sum(poll() for _ in range(60)) == 1
    assert {"late", "later", "fresh"} <= set(found(graph, "p0"))
    assert {"early", "hidden"}.isdisjoint(found(graph, "p0"))


def test_a_time_that_lies_ahead_hides_nothing(world: World, graph: WalkGraph) -> None:
    source, poll = Source(world.engine), follow(world.engine, graph)
    source.put("new", "p0", now_micros() + 3600 * SECOND)
    assert poll() == 1
    source.put("new", "fresh", now_micros())
    assert poll() == 1


def test_it_is_compacted_while_it_is_followed(world: World, graph: WalkGraph) -> None:
    source, poll = Source(world.engine), follow(world.engine, graph)
    for number in range(35):
        source.put(f"reader{number}", "p0", NOW + number)
    assert poll() == 35
    assert not graph.compact_if_due()
    assert poll() == 0
