"""Models that `train --model` names beside the default, and that their runs hold what is served."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from sqlalchemy import Engine
from tests.embedder.taste import make_dataset, make_posts, make_readings

from nearfeed_contracts.runs import RankedBatch, Run, list_runs, open_run
from nearfeed_core.pooling import pool_reader
from nearfeed_embedder.baselines.als import als, fit_als
from nearfeed_embedder.baselines.item_knn import item_similarities
from nearfeed_embedder.comparison import quality_gate as worth
from nearfeed_embedder.comparison.quality_gate import RefusedModelError
from nearfeed_embedder.evaluation.by_time import read_matrix
from nearfeed_embedder.linear.autoencoder import whitened
from nearfeed_embedder.operations import retrain_run, train_run
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import finish
from nearfeed_embedder.trainers.item_to_item import (
    batches_of,
    best_of_rows,
    ease_lists,
    knn_lists,
    lists_of,
)
from nearfeed_embedder.trainers.options import UnknownOptionError, UnknownRecipeError
from nearfeed_embedder.trainers.table import TRAINERS, UnknownTrainerError
from nearfeed_runtime.operations import Listed, Progress, Said
from nearfeed_runtime.settings import SettingsError

SMALL = {
    "als": "als:factors=16,ridge=10",
    "item-knn": "item-knn",
    "ease": "ease:ridge=50",
    "popularity": "popularity",
}


@pytest.fixture
def settings(tmp_path: Path) -> EmbedderSettings:
    return EmbedderSettings(data_dir=tmp_path, device="cpu")


def train(settings: EmbedderSettings, engine: Engine, model: str, **arguments: Any) -> Run:
    list(train_run(settings, engine, model=model, **arguments))
    return open_run(list_runs(settings.runs_url)[-1].url)


@pytest.mark.parametrize("name", SMALL)
def test_a_run_has_honest_metrics_and_tells_how_it_came_about(
    filled: Engine, settings: EmbedderSettings, name: str
) -> None:
    steps = list(train_run(settings, filled, model=SMALL[name]))
    last = {step.stage: step for step in steps if isinstance(step, Progress)}
    assert all(step.done == step.total for step in last.values())
    table, said = steps[-2:]
    assert isinstance(table, Listed)
    assert isinstance(said, Said)
    (run,) = list_runs(settings.runs_url)
    manifest = open_run(run.url).manifest
    assert manifest.space.startswith(f"{name}-20")
    assert manifest.space in said.text
    assert manifest.model == name
    assert manifest.metrics["models"].keys() == {name, "popularity", "item-knn"}
    own = manifest.metrics["models"][name]["recall@20"]["mean"]
    if name != "popularity":
        assert own > 1.5 * manifest.metrics["models"]["popularity"]["recall@20"]["mean"]
    assert (manifest.data.readers, manifest.data.items, manifest.data.readings) == (60, 124, 2400)
    assert manifest.configuration["options"].keys() == TRAINERS[name].defaults.keys()
    assert manifest.libraries.keys() >= {"nearfeed", "numpy"}


@pytest.mark.parametrize("name", SMALL)
def test_a_run_is_trained_again_by_its_manifest(
    filled: Engine, settings: EmbedderSettings, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = "1970-03-20T00:00:00Z"
    first = train(settings, filled, SMALL[name], until=until).manifest
    monkeypatch.setenv("NEARFEED_HALF_LIFE_DAYS", "2")
    list(retrain_run(EmbedderSettings(data_dir=settings.data_dir), filled, run=first.space))
    again = list_runs(settings.runs_url)[-1].manifest
    assert again.space != first.space
    for part in ("model", "kind", "configuration", "metrics", "data", "checksums", "rows"):
        assert getattr(again, part) == getattr(first, part)
    assert first.data.readings < 2400


def test_runs_that_no_trainer_knows_are_not_trained_again(filled: Engine, settings: EmbedderSettings) -> None:
    made = train(settings, filled, "item-knn")
    file = Path(made.path("manifest.json"))
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "model": "my-own"}))
    with pytest.raises(UnknownRecipeError, match="there is no trainer of 'my-own'"):
        list(retrain_run(settings, filled, run=made.manifest.space))
    file.write_text(json.dumps({**told, "configuration": {"options": {"depth": 3}, "settings": {}}}))
    with pytest.raises(UnknownRecipeError, match="options are not neighbours, shrinkage"):
        list(retrain_run(settings, filled, run=made.manifest.space))


@pytest.mark.parametrize(
    ("model", "options", "error", "fault"),
    [
        (
            "nothing",
            {},
            UnknownTrainerError,
            "there is no trainer of 'nothing'; there are pinsage-linear, als, ",
        ),
        (
            "als",
            {"epochs": 3},
            UnknownOptionError,
            "als has no option 'epochs'; its options: seed=0, f",
        ),
        ("item-knn:factors=3", {}, UnknownOptionError, "no option 'factors'; its options: neighbours=100, "),
        ("pinsage-linear:factors=3", {}, UnknownOptionError, "its options: epochs=18, "),
        ("als:factors=many", {}, UnknownOptionError, "als: factors cannot be 'many': .* integer"),
        ("als:alpha=1", {}, UnknownOptionError, "alpha cannot be '1': Input should be greater than 1"),
        ("als:seed=-1", {}, SettingsError, "NEARFEED_SEED"),
    ],
)
def test_what_a_trainer_does_not_take_is_refused(
    filled: Engine, settings: EmbedderSettings, model: str, options: Any, error: Any, fault: str
) -> None:
    with pytest.raises(error, match=fault):
        list(train_run(settings, filled, model=model, **options))


def test_a_model_below_popularity_is_refused_but_popularity_itself(
    filled: Engine, settings: EmbedderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        worth, "popularity", lambda _: lambda readers: np.tile(-np.arange(124.0), (len(readers), 1))
    )

    def compare(model: str, rankings: Any) -> dict[str, Any]:
        means = {name: {"recall@20": {"mean": float(name == "popularity")}} for name in rankings}
        return {"models": means, "gains": {}, "readers": 1}

    monkeypatch.setattr(worth, "compare", compare)
    for name in ("als", "item-knn", "ease"):
        with pytest.raises(RefusedModelError, match="--force"):
            train(settings, filled, SMALL[name])
    assert list_runs(settings.runs_url) == []


def test_every_trainer_is_there() -> None:
    for name, trainer in TRAINERS.items():
        assert callable(trainer.function), name
        assert set(trainer.settings) <= EmbedderSettings.model_fields.keys()
        assert not set(trainer.settings) & trainer.defaults.keys()


# --- ALS


def random_factors(seed: int, items: int = 30, factors: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(items, factors)).astype(np.float32)


def implicit_of(factors: np.ndarray, ridge: float, alpha: float) -> AlternatingLeastSquares:
    model = AlternatingLeastSquares(factors=factors.shape[1], regularization=ridge, alpha=alpha)
    model.item_factors = factors
    return model


@hypothesis_settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1_000),
    ridge=st.floats(0.5, 100),
    alpha=st.floats(1.5, 40),
    read=st.sets(st.integers(0, 29), min_size=1, max_size=20),
)
def test_pooling_is_the_fold_in_of_implicit(seed: int, ridge: float, alpha: float, read: set[int]) -> None:
    factors, items = random_factors(seed), sorted(read)
    history = sparse.csr_matrix((np.ones(len(items), np.float32), ([0] * len(items), items)), shape=(1, 30))
    folded = implicit_of(factors, ridge, alpha).recalculate_user(np.array([0]), history)[0]
    space = whitened(factors, ridge=ridge, alpha=alpha)
    pooled = pool_reader(space.vectors[items], [1.0] * len(items), space.blocks)
    np.testing.assert_allclose(space.vectors @ pooled, factors @ folded, atol=2e-3, rtol=2e-3)


@hypothesis_settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1_000), weights=st.lists(st.floats(0.05, 3), min_size=1, max_size=20))
def test_pooling_of_weighted_readings_solves_the_normal_equations(seed: int, weights: list[float]) -> None:
    ridge, alpha = 10.0, 8.0
    factors = random_factors(seed)
    read = np.random.default_rng(seed).choice(30, len(weights), replace=False)
    space = whitened(factors, ridge=ridge, alpha=alpha)
    y = factors.astype(np.float64)
    confidence = (alpha - 1) * np.array(weights)
    left = y.T @ y + ridge * np.eye(6) + y[read].T @ (confidence[:, None] * y[read])
    expected = y @ np.linalg.solve(left, confidence @ y[read]) * alpha / (alpha - 1)
    pooled = pool_reader(space.vectors[read], weights, space.blocks)
    np.testing.assert_allclose(space.vectors @ pooled, expected, atol=1e-4)


def test_iterations_in_steps_are_those_of_implicit() -> None:
    read = read_matrix(make_dataset())
    stepwise = finish(fit_als(read, factors=8, alpha=5.0, ridge=3.0, iterations=4, seed=1))
    whole = AlternatingLeastSquares(factors=8, regularization=3.0, alpha=5.0, iterations=4, random_state=1)
    whole.fit(read, show_progress=False)
    np.testing.assert_allclose(stepwise.item_factors, whole.item_factors, atol=1e-4)


def test_a_run_of_als_ranks_as_implicit_and_leaves_out_what_nobody_has_read(
    filled: Engine, settings: EmbedderSettings
) -> None:
    run = train(settings, filled, SMALL["als"])
    (batch,) = run.vector_batches()
    assert batch.item_ids == [f"p{number:03d}" for number in range(120)]
    assert (run.manifest.kind, run.manifest.dim, run.manifest.rows) == ("vectors", 16, {"vectors": 120})
    read = read_matrix(make_dataset(each=40))
    expected = als(read, read, factors=16, ridge=10.0)(np.arange(60))
    for reader in range(60):
        items = read[reader].indices
        pooled = pool_reader(batch.vectors[items], [1.0] * len(items), run.manifest.blocks)
        np.testing.assert_allclose(batch.vectors @ pooled, expected[reader], atol=1e-3)


# --- item to item


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    size = draw(st.integers(1, 9))
    cells = draw(st.lists(st.integers(-2, 5), min_size=size * size, max_size=size * size))
    matrix = np.array(cells, np.float32).reshape(size, size)
    np.fill_diagonal(matrix, 0)
    return matrix


def best(row: np.ndarray, most: int) -> dict[int, float]:
    order = sorted(np.flatnonzero(row > 0), key=lambda item: (-row[item], item))[:most]
    return {item: row[item] for item in order}


@given(matrix=matrices(), most=st.integers(1, 5))
def test_the_best_of_rows_by_hand(matrix: np.ndarray, most: int) -> None:
    found = best_of_rows(sparse.csr_matrix(matrix), most)
    for row in range(len(matrix)):
        own = found[row]
        assert dict(zip(own.indices, own.data, strict=True)) == best(matrix[row], most)


def rows_of(batch: RankedBatch) -> list[tuple[str, str, int, float]]:
    columns = (
        batch.owners.to_pylist(),
        batch.item_ids.to_pylist(),
        batch.ranks.tolist(),
        batch.scores.tolist(),
    )
    return list(zip(*columns, strict=True))


@given(matrix=matrices())
def test_batches_are_the_rows_in_order(matrix: np.ndarray) -> None:
    ids = [f"p{number}" for number in range(len(matrix))]
    similar = best_of_rows(sparse.csr_matrix(matrix), 100)
    rows = [
        row
        for batch in batches_of(similar, ids)
        for row in zip(
            batch.owners.to_pylist(),
            batch.item_ids.to_pylist(),
            batch.ranks.tolist(),
            batch.scores.tolist(),
            strict=True,
        )
    ]
    assert rows == [
        (ids[owner], ids[item], rank, score)
        for owner in range(len(matrix))
        for rank, (item, score) in enumerate(best(matrix[owner], 100).items(), 1)
    ]


@given(matrix=matrices(), neighbours=st.integers(1, 4))
def test_lists_hold_what_is_near_and_what_a_post_is_near_to(matrix: np.ndarray, neighbours: int) -> None:
    similar = np.maximum(matrix, matrix.T)
    nearest = [best(row, neighbours) for row in similar]
    found = lists_of(
        best_of_rows(sparse.csr_matrix(similar), neighbours),
        best_of_rows(sparse.csr_matrix(similar), neighbours).T.tocsr(),
        neighbours,
    )
    for post in range(len(similar)):
        towards = np.array([row.get(post, 0) for row in nearest])
        expected = best(towards, 3 * neighbours) | nearest[post]
        assert dict(zip(found[post].indices, found[post].data, strict=True)) == expected


def test_no_list_of_a_post_that_was_read_is_empty_and_scores_are_cosines() -> None:
    read = read_matrix(make_dataset(each=40))
    lists, cosines = knn_lists(read, 5), item_similarities(read, 1_000, 10.0)
    assert np.diff(lists.indptr).min() >= 5
    np.testing.assert_allclose(lists.data, np.asarray(cosines[lists.nonzero()]).ravel())


def test_lists_of_ease_hold_posts_that_were_read_alone() -> None:
    lists = ease_lists(read_matrix(make_dataset(each=40)), 10, 50.0)
    assert lists.shape == (120, 120)
    unread = make_readings(each=40)
    sparse_read = sparse.csr_matrix(
        (np.ones(len(unread), np.float32), (unread.reader, unread.item * 2)), shape=(60, 240)
    )
    spread = ease_lists(sparse_read, 10, 50.0)
    np.testing.assert_allclose(spread[::2, ::2].toarray(), lists.toarray(), atol=1e-5)
    assert spread.nnz == lists.nnz


def test_a_run_of_neighbours_holds_the_lists(filled: Engine, settings: EmbedderSettings) -> None:
    run = train(settings, filled, "item-knn:neighbours=7")
    expected = knn_lists(read_matrix(make_dataset(each=40)), 7)
    ids = [post.item_id for post in make_posts(120)]
    found = {
        (owner, item): score
        for batch in run.neighbour_batches(rows=100)
        for owner, item, score in zip(
            batch.owners.to_pylist(), batch.item_ids.to_pylist(), batch.scores, strict=True
        )
    }
    rows, columns = expected.nonzero()
    assert found.keys() == {(ids[row], ids[column]) for row, column in zip(rows, columns, strict=True)}
    assert run.manifest.rows == {"neighbours": expected.nnz}


# --- popularity


def test_the_list_of_everybody_is_what_was_read_lately_then_of_all_time(
    filled: Engine, settings: EmbedderSettings
) -> None:
    run = train(settings, filled, "popularity:days=10,length=50")
    (batch,) = run.list_batches()
    readings = make_readings(each=40)
    day = 86_400_000_000
    late = np.bincount(readings.item[readings.time > readings.time.max() - 10 * day], minlength=120)
    ever = np.bincount(readings.item, minlength=120)
    order = sorted(range(120), key=lambda item: (-late[item], -ever[item], item))[:50]
    assert batch.item_ids.to_pylist() == [f"p{item:03d}" for item in order]
    assert set(batch.owners.to_pylist()) == {"*"}
    assert batch.ranks.tolist() == list(range(1, 51))
    assert np.floor(batch.scores).tolist() == late[order].tolist()
