from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from tests.embedder.taste import make_dataset, make_readings

from nearfeed_contracts.runs import BrokenRunError, Run, list_runs, open_run
from nearfeed_core.pooling import pool_reader
from nearfeed_core.splits import split_by_time
from nearfeed_embedder.comparison.runs import scorer_of_run
from nearfeed_embedder.dataset import Readings, profile
from nearfeed_embedder.evaluation.by_time import split_dataset
from nearfeed_embedder.evaluation.ranking import RECALL, rank
from nearfeed_embedder.operations import evaluate_models, train_run
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import finish
from nearfeed_embedder.towers.fitting import fit_tower, sampled_softmax
from nearfeed_embedder.towers.moments import batch_of, moments_of, of_each_reader
from nearfeed_embedder.towers.scoring import blocks_of, fit_past, scorer_of, write_tower
from nearfeed_embedder.towers.youtube import TowerRule, TwoRoles
from nearfeed_runtime.operations import Listed

RULE = TowerRule(dim=8, hidden=16, epochs=4, batch=64, dropout=0.0, forgotten=0.0, decay=0.0)


def test_a_reader_is_pooled_in_training_as_when_served() -> None:
    dataset = make_dataset(readers=6, posts=30, each=12)
    readings = dataset.readings
    model = TwoRoles(torch.ones(30), RULE).eval()
    moments = moments_of(readings)
    batch = batch_of(moments, readings, dataset.half_life_days)
    queries = model.tower.query
    seen = []
    model.tower.query = lambda pooled, age: seen.append((pooled, age)) or queries(pooled, age)  # type: ignore
    model.queries(batch)
    ((pooled, age),) = seen
    _, contexts = (part.numpy() for part in model.found())
    for number, row in enumerate(moments.rows):
        before = np.flatnonzero(
            (readings.reader == readings.reader[row]) & (readings.time < readings.time[row])
        )
        items, weights = profile(readings, before, dataset.half_life_days)
        expected = pool_reader(contexts[items], weights, blocks_of(9))
        assert pooled[number].detach().numpy() == pytest.approx(expected, abs=1e-5)
        assert batch.target[number] == readings.item[row]
    assert age.min() == 0
    assert age.max() <= 1


@given(st.integers(1, 9), st.integers(0, 3))
@settings(max_examples=20)
def test_every_reader_gives_so_many_moments_at_most(most: int, seed: int) -> None:
    readings = make_readings(readers=5, posts=20, each=6, seed=seed)
    moments = moments_of(readings)
    chosen = of_each_reader(moments, readings, most, np.random.default_rng(seed))
    counts = np.bincount(readings.reader[chosen.rows], minlength=5)
    assert counts.tolist() == [min(most, 5)] * 5
    assert len(np.unique(chosen.rows)) == len(chosen)


def test_readings_at_one_time_are_no_history_of_each_other() -> None:
    readings = Readings(
        np.zeros(3, np.intp), np.arange(3), np.array([5, 7, 7], np.int64), np.ones(3)
    ).sorted()
    moments = moments_of(readings)
    assert moments.rows.tolist() == [1, 2]
    assert moments.last.tolist() == [1, 1]
    assert moments.age.tolist() == [0, 0]


def test_a_softmax_over_drawn_posts_comes_near_the_whole_one() -> None:
    torch.manual_seed(0)
    model = TwoRoles(torch.ones(50), RULE)
    torch.nn.init.normal_(model.vectors.weight)
    queries, target = torch.randn(20, 9), torch.randint(50, (20,))
    whole = torch.nn.functional.cross_entropy(queries @ model.vectors.weight.T, target)
    drawn = sampled_softmax(model, queries, target, np.full(50, 0.02), 20_000, np.random.default_rng(0))
    assert drawn.item() == pytest.approx(whole.item(), abs=0.05)


def test_training_on_drawn_posts_runs_through() -> None:
    dataset = make_dataset(readers=20, posts=30, each=10)
    rule = replace(RULE, negatives=10, epochs=2)
    model, epochs = finish(fit_tower(dataset, rule, seed=0, stage="-", epochs=2))
    assert epochs == 2
    assert all(torch.isfinite(part).all() for part in model.found())


def test_a_tower_learns_tastes() -> None:
    dataset = make_dataset(readers=60, posts=120, each=25)
    readings = dataset.readings
    by_time = split_by_time(readings.reader, readings.item, readings.time, 120, least_later=4)
    split = split_dataset(dataset, by_time)
    rule = replace(RULE, epochs=12, learning_rate=1e-2)
    model, _ = finish(fit_tower(dataset.before(by_time.cut), rule, seed=0, stage="-", epochs=12))
    ranked = rank(scorer_of(model, split.history), split).ranked[:, :5]
    own = split.readers[:, None] % 3 == ranked % 3
    assert own.mean() > 0.7


def test_a_run_with_a_tower_is_evaluated_as_it_is_searched(tmp_path) -> None:
    dataset = make_dataset(readers=30, posts=40, each=20)
    readings = dataset.readings
    by_time = split_by_time(readings.reader, readings.item, readings.time, 40, least_later=2)
    split = split_dataset(dataset, by_time)
    past = dataset.before(by_time.cut)
    model, epochs = finish(fit_past(past, RULE, 0))
    assert 1 <= epochs <= RULE.epochs
    manifest = write_tower(str(tmp_path), "towered", past, model, metrics={}, configuration={})
    run = open_run(f"{tmp_path}/{manifest.space}")
    assert run.manifest.dim == 9
    scorer, _ = scorer_of_run(run, split)
    own, alone = scorer_of(model, split.history)(split.readers), scorer(split.readers)
    assert alone == pytest.approx(own, abs=1e-5)
    (tmp_path / manifest.space / "tower.onnx").write_bytes(b"no network")
    with pytest.raises(BrokenRunError, match=r"tower.onnx cannot be run as ONNX"):
        scorer_of_run(run, split)
    with pytest.raises(BrokenRunError, match="has no tower: its manifest names 'gone'"):
        scorer_of_run(Run(run.url, run.manifest.model_copy(update={"tower": "gone"})), split)


def test_one_call_trains_a_tower_that_evaluate_knows(filled: Engine, tmp_path) -> None:
    settings = EmbedderSettings(data_dir=tmp_path, device="cpu")
    asked = "youtube-dnn:dim=8,hidden=16,epochs=4"
    list(train_run(settings, filled, model=asked, until="1970-03-12T00:00:00", force=True))
    (run,) = list_runs(settings.runs_url)
    assert run.manifest.tower == "tower.onnx"
    assert run.manifest.data.last is not None
    assert run.manifest.data.last.timestamp() < 70 * 86_400
    assert RECALL in run.manifest.metrics["models"]["youtube-dnn"]
    steps = evaluate_models(
        settings, filled, models=[run.manifest.space, "popularity"], share=0.8, least_later=4
    )
    tables = [step for step in steps if isinstance(step, Listed)]
    assert run.manifest.space in {row[0] for row in tables[0].rows}
