"""`evaluate` of item-to-item lists, of readers' lists, and of blends: as they are served."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sqlalchemy import Engine

from nearfeed_contracts.runs import (
    BrokenRunError,
    DataWindow,
    Manifest,
    RankedBatch,
    Run,
    open_run,
    write_lists,
    write_manifest,
    write_neighbours,
)
from nearfeed_core.fusion import fused
from nearfeed_embedder.comparison.blends import Blend, blend_of, by_fusion
from nearfeed_embedder.comparison.models import UnfitModelError, UnknownModelError
from nearfeed_embedder.comparison.operation import evaluate
from nearfeed_embedder.comparison.runs import LeakyRunError, scorer_of_run
from nearfeed_embedder.evaluation.ranking import rank
from nearfeed_embedder.evaluation.split import Split
from nearfeed_embedder.operations import train_run
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_runtime.operations import Listed, Said

BY_TIME = {"least_later": 4}
PAST = DataWindow(last=datetime(1970, 1, 2, tzinfo=UTC))
INF = np.inf
Row = tuple[str, str, int, float]


@pytest.fixture
def settings(tmp_path: Path) -> EmbedderSettings:
    return EmbedderSettings(data_dir=tmp_path, device="cpu")


def small_split(reader_ids: tuple[str, ...] = ("ann", "bob")) -> Split:
    """Ann has read a and b, with weights 2 and 1; Bob has read nothing."""
    history = sparse.csr_matrix(np.array([[2, 1, 0, 0], [0, 0, 0, 0]], np.float32))
    targets = sparse.csr_matrix(np.array([[0, 0, 1, 0], [0, 0, 0, 1]], np.float32))
    return Split(
        ["a", "b", "c", "d"], history, history, history, targets, np.ones(4, np.bool_), reader_ids=reader_ids
    )


def make_run(folder: Path, kind: Any, rows: list[Row]) -> Run:
    owners, items, ranks, scores = zip(*rows, strict=True)
    batch = RankedBatch(
        pa.array(owners), pa.array(items), np.array(ranks, np.int32), np.array(scores, np.float32)
    )
    {"neighbours": write_neighbours, "lists": write_lists}[kind](folder.as_uri(), [batch])
    made = datetime(2026, 1, 1, tzinfo=UTC)
    write_manifest(
        folder.as_uri(), Manifest(space=folder.name, kind=kind, model="own", created_at=made, data=PAST)
    )
    return open_run(folder.as_uri())


def test_neighbours_score_by_weight_times_score_and_what_none_has_is_never_shown(tmp_path: Path) -> None:
    rows = [
        ("a", "c", 1, 0.5),
        ("b", "c", 1, 0.25),
        ("b", "x", 2, 0.2),
        ("a", "b", 2, -1.0),
        ("x", "d", 1, 9.0),
    ]
    scorer, remark = scorer_of_run(make_run(tmp_path, "neighbours", rows), small_split())
    assert scorer(np.array([0, 1])).tolist() == [[-INF, -2.0, 1.25, -INF], [-INF] * 4]
    assert remark.startswith("2 posts are in none of its lists, and are never shown.")


def test_a_reader_has_their_own_list_or_that_of_everybody_by_rank(tmp_path: Path) -> None:
    rows = [
        ("ann", "c", 2, 9.0),
        ("ann", "b", 1, 1.0),
        ("*", "d", 1, 3.0),
        ("*", "x", 2, 2.0),
        ("zoe", "a", 1, 1.0),
    ]
    scorer, remark = scorer_of_run(make_run(tmp_path, "lists", rows), small_split())
    assert scorer(np.array([1, 0])).tolist() == [[-INF, -INF, -INF, 1.0], [-INF, 1.0, 0.5, -INF]]
    assert remark.startswith("1 of 2 readers have a list of their own. 1 posts are in none")


def test_lists_of_readers_need_their_names(tmp_path: Path) -> None:
    run = make_run(tmp_path / "own", "lists", [("ann", "c", 1, 1.0)])
    with pytest.raises(UnfitModelError, match="these data do not name any"):
        scorer_of_run(run, small_split(()))
    for_all = make_run(tmp_path / "all", "lists", [("*", "c", 1, 1.0)])
    scorer, _ = scorer_of_run(for_all, small_split(()))
    assert scorer(np.array([0, 1])).tolist() == [[-INF, -INF, 1, -INF]] * 2


@pytest.mark.parametrize("kind", ["neighbours", "lists"])
def test_an_item_twice_in_a_list_is_refused(tmp_path: Path, kind: str) -> None:
    owner = "a" if kind == "neighbours" else "ann"
    run = make_run(tmp_path, kind, [(owner, "c", 1, 1.0), (owner, "c", 2, 1.0)])
    with pytest.raises(BrokenRunError, match="holds an item twice"):
        scorer_of_run(run, small_split())


def test_runs_of_trainers_are_compared_and_checked_for_leaks(
    filled: Engine, settings: EmbedderSettings
) -> None:
    models = ("als:factors=16,ridge=2", "item-knn", "popularity")
    told = [
        step.text
        for model in models
        for step in train_run(settings, filled, model=model, until="1970-03-05T00:00:00Z")
        if isinstance(step, Said)
    ]
    runs = [text.split()[1] for text in told if text.startswith("Run ")]
    blend = f"blend:{'+'.join(runs)}@depth=50"
    steps = list(evaluate(settings, filled, models=[*runs, blend], **BY_TIME))
    recalls = {row[0]: float(row[2]) for row in next(s for s in steps if isinstance(s, Listed)).rows}
    assert recalls.keys() == {*runs, blend}
    assert recalls[runs[0]] > recalls[runs[2]]
    assert recalls[blend] > recalls[runs[2]]
    list(train_run(settings, filled, model="item-knn"))
    late = max(path.name for path in (settings.data_dir / "runs").glob("item-knn*"))
    for model in (late, f"blend:als+{late}"):
        with pytest.raises(LeakyRunError, match="has learned from readings up to"):
            list(evaluate(settings, filled, models=[model], **BY_TIME))


def test_runs_that_name_no_posts_are_refused(filled: Engine, settings: EmbedderSettings) -> None:
    folder = settings.data_dir / "runs" / "graph"
    (folder / "graph").mkdir(parents=True)
    (folder / "graph" / "graph.json").write_text("{}")
    made = datetime(2026, 1, 1, tzinfo=UTC)
    write_manifest(folder.as_uri(), Manifest(space="graph", kind="graph", model="walk", created_at=made))
    with pytest.raises(UnknownModelError, match="of kind graph: vectors, neighbours and lists are evaluated"):
        list(evaluate(settings, filled, models=["graph"]))


# --- blends


def opened(name: str) -> str:
    return name


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("als", None),
        ("blend:als", Blend({"als": "als"}, {"als": 1.0})),
        (
            "blend:als:factors=8,alpha=5*2+item-knn*0.5@k=10,depth=100",
            Blend(
                {"als:factors=8,alpha=5": "als:factors=8,alpha=5", "item-knn": "item-knn"},
                {"als:factors=8,alpha=5": 2.0, "item-knn": 0.5},
                10.0,
                100,
            ),
        ),
        (
            "blend:/runs/a+ease@depth=3",
            Blend({"/runs/a": "/runs/a", "ease": "ease"}, {"/runs/a": 1, "ease": 1}, depth=3),
        ),
    ],
)
def test_blends_are_named_with_weights_and_settings(asked: str, expected: Blend[str] | None) -> None:
    assert blend_of(asked, opened) == expected


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ("blend:", "'' is no model with a weight above 0"),
        ("blend:als*0", r"'als\*0' is no model with a weight above 0"),
        ("blend:als*x", r"'als\*x' is no model with a weight"),
        ("blend:als*inf", "is no model with a weight"),
        ("blend:als++ease", "'' is no model"),
        ("blend:als+als*2", "names a model twice"),
        ("blend:als@k=-1", "k, from 0, and depth"),
        ("blend:als@depth=1.5", "depth, a whole number from 1"),
        ("blend:als@depth=0", "depth, a whole number from 1"),
        ("blend:als@width=3", "after @ stand k"),
    ],
)
def test_blends_that_cannot_be_read_are_told(asked: str, fault: str) -> None:
    with pytest.raises(UnknownModelError, match=fault):
        blend_of(asked, opened)


@st.composite
def score_tables(draw: st.DrawFn) -> Mapping[str, np.ndarray]:
    cells = st.lists(st.sampled_from([-INF, 0.0, 1.0, 2.0, 3.0]), min_size=8, max_size=8)
    names = draw(st.lists(st.sampled_from("xyz"), min_size=1, unique=True))
    return {name: np.array([draw(cells), draw(cells)], np.float32).reshape(2, 8)[:, :4] for name in names}


@given(
    tables=score_tables(),
    depth=st.integers(1, 6),
    k=st.floats(0, 100),
    weights=st.tuples(*[st.floats(0.1, 5)] * 3),
)
def test_a_blend_is_the_fusion_of_what_each_model_would_show(
    tables: Mapping[str, np.ndarray], depth: int, k: float, weights: tuple[float, ...]
) -> None:
    split = small_split()
    weight = dict(zip("xyz", weights, strict=True))
    scorers = {name: (lambda readers, own=own: own[readers]) for name, own in tables.items()}
    found = by_fusion(scorers, weight, split, k, depth)(np.array([0, 1]))
    for reader, masked in ((0, {0, 1}), (1, set())):
        shown = {
            name: sorted(
                (item for item in range(4) if item not in masked and own[reader, item] > -INF),
                key=lambda item, own=own: (-own[reader, item], item),
            )[:depth]
            for name, own in tables.items()
        }
        rankings = {name: ["abcd"[item] for item in items] for name, items in shown.items()}
        expected = fused(rankings, weight, k)
        values = [np.float32(expected.get(item, -INF)) for item in "abcd"]
        np.testing.assert_allclose(found[reader], values, rtol=1e-6)
    assert rank(by_fusion(scorers, weight, split, k, depth), split).ranked.shape == (2, 4)


def test_a_blend_says_what_its_runs_lack(filled: Engine, settings: EmbedderSettings) -> None:
    make_run(settings.data_dir / "runs" / "own", "neighbours", [("p000", "p001", 1, 1.0)])
    steps = list(evaluate(settings, filled, models=["blend:own*3+popularity"], **BY_TIME))
    said = [step.text for step in steps if isinstance(step, Said)][-1]
    assert said.startswith("blend:own*3+popularity: of own, 119 posts are in none of its lists")
