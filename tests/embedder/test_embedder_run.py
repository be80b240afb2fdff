import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from sqlalchemy import Engine
from tests.embedder.taste import make_posts, make_readings, put_posts, put_readings

from nearfeed_backends.sql.database import open_database
from nearfeed_contracts.errors import NotFoundError
from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.runs import BrokenRunError, Manifest, Run, list_runs, open_run
from nearfeed_contracts.tables import interactions
from nearfeed_core.readings import DAY_MICROS
from nearfeed_embedder import run as run_module
from nearfeed_embedder import training
from nearfeed_embedder.comparison.quality_gate import RefusedModelError, check_quality
from nearfeed_embedder.dataset import Readings, TooLittleDataError
from nearfeed_embedder.encoder import load_encoder
from nearfeed_embedder.load import read_dataset
from nearfeed_embedder.operations import TimeError, evaluate_models, list_trained, retrain_run, train_run
from nearfeed_embedder.run_folder import UnknownRecipeError
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.shifts import read_shifts, save_shifts
from nearfeed_embedder.stages import finish
from nearfeed_embedder.text.encode import encode
from nearfeed_runtime.operations import Listed, Progress, Said
from nearfeed_runtime.settings import SettingsError

CPU = torch.device("cpu")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/nearfeed.db")
    yield engine
    engine.dispose()


@pytest.fixture
def settings(tmp_path: Path, tiny_text_model: str) -> EmbedderSettings:
    return EmbedderSettings(
        data_dir=tmp_path, text_model=tiny_text_model, epochs=2, dim=16, linear_dim=8, device="cpu"
    )


def train(settings: EmbedderSettings, engine: Engine, **arguments: object) -> Manifest:
    list(train_run(settings, engine, **arguments))  # type: ignore[arg-type]
    return list_runs(settings.runs_url)[-1].manifest


def vectors_of(settings: EmbedderSettings, space: str) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for batch in open_run(f"{settings.runs_url}/{space}").vector_batches():
        found.update(zip(batch.item_ids, batch.vectors, strict=True))
    return found


def test_sql_gives_back_what_was_put_in(filled: Engine, settings: EmbedderSettings) -> None:
    dataset = finish(read_dataset(filled, settings.weight_rule))
    readings = make_readings(each=40)
    assert [post.item_id for post in dataset.posts] == [f"p{number:03d}" for number in range(124)]
    assert dataset.posts[0] == make_posts()[0]
    assert dataset.versions.tolist() == [3] * 120 + [1] * 4
    for name in ("reader", "item", "time", "weight"):
        np.testing.assert_array_equal(getattr(dataset.readings, name), getattr(readings, name))


def test_a_run_stands_whole_and_says_how_it_came_about(filled: Engine, settings: EmbedderSettings) -> None:
    steps = list(train_run(settings, filled, force=True))
    stages = list(dict.fromkeys(step.stage for step in steps if isinstance(step, Progress)))
    assert stages == [
        "Reading data",
        "Fine-tuning text",
        "Encoding texts",
        "Choosing: walks",
        "Choosing",
        "Training (evaluation): walks",
        "Training (evaluation)",
        "Evaluating",
        "Training (all): walks",
        "Training (all)",
        "Writing run",
    ]
    last = {step.stage: step for step in steps if isinstance(step, Progress)}
    assert all(step.done == step.total for step in last.values())
    table, said = steps[-2:]
    assert isinstance(table, Listed)
    assert table.columns[1:] == ("recall@20", "ndcg@20")
    assert [row[0] for row in table.rows][:5] == [
        "pinsage-linear",
        "pinsage",
        "linear",
        "popularity",
        "item-knn",
    ]
    assert isinstance(said, Said)

    (listed,) = list_runs(settings.runs_url)
    run = open_run(listed.url)
    (batch,) = run.vector_batches()
    manifest = run.manifest
    assert manifest.space in said.text
    assert batch.item_ids == [f"p{number:03d}" for number in range(124)]
    assert batch.versions is not None
    assert batch.versions.tolist() == [3] * 120 + [1] * 4
    for role in (batch.vectors, batch.contexts):
        np.testing.assert_allclose(np.linalg.norm(role[:120, :16], axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(role[120:, :16], axis=1), 0.5, atol=0.1)
    assert (manifest.model, manifest.dim, manifest.rows) == ("pinsage-linear", 24, {"vectors": 124})
    assert [(block.dim, block.pooling) for block in manifest.blocks] == [(16, "mean"), (8, "sum")]
    assert (manifest.data.readers, manifest.data.items, manifest.data.readings) == (60, 124, 2400)
    assert manifest.metrics["models"].keys() == {
        "pinsage-linear",
        "pinsage",
        "linear",
        "popularity",
        "item-knn",
    }
    assert manifest.libraries.keys() >= {"torch", "dgl", "transformers"}
    told = manifest.configuration["settings"]
    of_text = {name: value for name, value in settings.model_dump().items() if name.startswith("text_")}
    assert of_text.items() <= told.items()
    assert (told["seed"], told["text_objective"]) == (0, "unsupervised")


def test_one_seed_gives_one_run(filled: Engine, settings: EmbedderSettings) -> None:
    first = train(settings, filled, force=True, text_epochs=1)
    again = train(settings, filled, force=True, text_epochs=1)
    other = train(settings, filled, force=True, text_epochs=1, seed=1)
    assert first.space != again.space
    assert first.metrics == again.metrics
    one, two, three = (vectors_of(settings, made.space) for made in (first, again, other))
    assert all(np.array_equal(one[item_id], two[item_id]) for item_id in one)
    assert not all(np.array_equal(one[item_id], three[item_id]) for item_id in one)


def test_a_run_is_trained_again_by_its_manifest(
    engine: Engine, settings: EmbedderSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts, readings = make_posts(124), make_readings(each=40)
    put_posts(engine, posts)
    put_readings(engine, posts, readings.take(readings.time < np.quantile(readings.time, 0.8)))
    first = train(settings, engine, force=True, text_epochs=1, dim=12, seed=3)
    put_readings(engine, posts, readings.take(readings.time > int(first.data.last.timestamp() * 1e6)))  # type: ignore[union-attr]
    monkeypatch.setenv("NEARFEED_WEIGHTS", '{"save": 9}')
    monkeypatch.setenv("NEARFEED_HALF_LIFE_DAYS", "2")
    others = EmbedderSettings(data_dir=tmp_path, text_model="none at all", seed=9, device="cpu")
    list(retrain_run(others, engine, run=first.space, force=True))
    again = list_runs(settings.runs_url)[-1].manifest
    assert again.space != first.space
    assert again.configuration == first.configuration
    assert again.metrics == first.metrics
    assert again.checksums["vectors.parquet"] == first.checksums["vectors.parquet"]
    assert train(settings, engine, force=True).data.readings > again.data.readings


@pytest.mark.parametrize(("lacking", "other"), [("hidden", None), (None, "unheard_of")])
def test_a_run_of_another_trainer_is_not_trained_again(
    engine: Engine, settings: EmbedderSettings, lacking: str | None, other: str | None
) -> None:
    put_posts(engine, make_posts(124))
    put_readings(engine, make_posts(124), make_readings(each=40))
    made = train(settings, engine, force=True, text_epochs=0)
    file = Path(settings.runs_url.removeprefix("file://")) / made.space / "manifest.json"
    told = json.loads(file.read_text())
    told["configuration"]["shape"].pop(lacking, None)
    told["configuration"]["shape"] |= {other: 1} if other else {}
    file.write_text(json.dumps(told))
    with pytest.raises(UnknownRecipeError, match=rf"cannot be trained again.*shape\.{lacking or other}"):
        list(retrain_run(settings, engine, run=made.space))
    with pytest.raises(NotFoundError):
        list(retrain_run(settings, engine, run="none"))


def test_readings_at_a_time_and_later_are_left_out(filled: Engine, settings: EmbedderSettings) -> None:
    times = np.sort(make_readings(each=40).time)
    cut = from_micros(int(times[1200]))
    manifest = train(settings, filled, force=True, text_epochs=0, until=cut.isoformat())
    assert manifest.data.readings == (times < times[1200]).sum()
    assert manifest.data.last is not None
    assert manifest.data.last < cut
    # A time without a zone is in UTC.
    naive = train(settings, filled, force=True, text_epochs=0, until=f"{cut:%Y-%m-%dT%H:%M:%S.%f}")
    assert naive.data == manifest.data


def test_a_run_until_the_cut_can_be_evaluated(filled: Engine, settings: EmbedderSettings) -> None:
    times = np.sort(make_readings(each=40).time)
    cut = from_micros(int(times[int(0.7 * len(times))]))
    space = train(settings, filled, force=True, text_epochs=0, until=cut.isoformat()).space
    list(evaluate_models(settings, filled, models=[space, "popularity"]))


def test_a_time_before_all_readings_is_told(filled: Engine, settings: EmbedderSettings) -> None:
    with pytest.raises(TooLittleDataError, match="no readings before 1960-01-01: the first is of 19"):
        list(train_run(settings, filled, until="1960-01-01"))


@pytest.mark.parametrize("until", ["yesterday", "2026-13-01", ""])
def test_what_is_no_time_is_told(filled: Engine, settings: EmbedderSettings, until: str) -> None:
    with pytest.raises(TimeError, match="is no time such as 2026"):
        list(train_run(settings, filled, until=until))


def test_the_encoder_gives_unchanged_posts_the_vectors_of_the_run(trained: Run) -> None:
    encoder = load_encoder(trained, CPU)
    assert encoder is not None
    (stored,) = trained.vector_batches()
    vectors, contexts = encoder.encode(make_posts(124))
    np.testing.assert_allclose(vectors, stored.vectors, atol=1e-5)
    np.testing.assert_allclose(contexts, stored.contexts, atol=1e-5)


def test_new_posts_have_both_parts(trained: Run) -> None:
    encoder = load_encoder(trained, CPU)
    assert encoder is not None
    (stored,) = trained.vector_batches()
    new = [replace(post, item_id=f"new-{post.item_id}") for post in make_posts(120)]
    vectors, contexts = encoder.encode(new)
    np.testing.assert_allclose(vectors[:, :16], contexts[:, :16])
    for found, expected in ((vectors, stored.vectors), (contexts, stored.contexts)):
        told, by_readers = found[:, 16:].ravel(), expected[:120, 16:].ravel()
        assert np.corrcoef(told, by_readers)[0, 1] > 0.3


def test_an_edited_post_keeps_what_its_readers_say_of_it(trained: Run) -> None:
    encoder = load_encoder(trained, CPU)
    assert encoder is not None
    post = make_posts(1)[0]
    edited, new = (
        replace(post, text=f"{post.text} again"),
        replace(post, item_id="new", text=f"{post.text} again"),
    )
    before, after, fresh = encoder.encode([post, edited, new])[0]
    assert np.linalg.norm(after[:16]) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(before - after) < np.linalg.norm(before - fresh)
    assert np.linalg.norm(before - after) > 1e-4


def test_few_posts_are_encoded_by_one_thread(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_encoder(trained, CPU)
    assert encoder is not None
    threads: list[int] = []

    def encode_and_count(*arguments: object) -> np.ndarray:
        threads.append(torch.get_num_threads())
        return encode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("nearfeed_embedder.encoder.encode", encode_and_count)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        encoder.encode(make_posts(1))
        encoder.encode(make_posts(100))
        threads.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert threads == [1, 2, 2]


def test_shifts_are_found_among_many(tmp_path: Path) -> None:
    ids = [f"p{number}" for number in range(10_000)]
    shifts = np.zeros((10_000, 2), np.float32)
    shifts[::2] = [[number, 1] for number in range(0, 10_000, 2)]
    save_shifts(f"file://{tmp_path}", ids, shifts)
    asked = ["p9998", "p7", "unknown", "p0"]
    found = read_shifts(f"file://{tmp_path}", asked, 2)
    np.testing.assert_array_equal(found, np.array([[9998, 1], [0, 0], [0, 0], [0, 1]]))


def test_an_encoder_is_loaded_from_far_file_systems_too(trained: Run) -> None:
    files = fsspec.filesystem("memory")
    files.put(f"{trained.path('')}", "/runs/far/", recursive=True)
    far, near = load_encoder(open_run("memory:///runs/far"), CPU), load_encoder(trained, CPU)
    assert far is not None
    assert near is not None
    posts = make_posts(5)
    np.testing.assert_array_equal(far.encode(posts)[0], near.encode(posts)[0])


def test_an_encoder_of_an_older_version_is_told(trained: Run, tmp_path: Path) -> None:
    shutil.copytree(trained.path(""), tmp_path / "older")
    save_file({"weights": np.zeros((17, 16), np.float32)}, tmp_path / "older/encoder/newcomers.safetensors")
    with pytest.raises(BrokenRunError, match="train anew, load and activate the new run"):
        load_encoder(open_run(f"file://{tmp_path}/older", verify=False), CPU)


def test_an_encoder_that_is_broken_is_told(trained: Run, tmp_path: Path) -> None:
    shutil.copytree(trained.path(""), tmp_path / "broken")
    weights = tmp_path / "broken/encoder/pinsage.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BrokenRunError, match="holds no encoder that this version can load"):
        load_encoder(open_run(f"file://{tmp_path}/broken", verify=False), CPU)


def test_a_write_that_fails_leaves_no_run(
    filled: Engine, settings: EmbedderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(run_module, "save_encoder", fail)
    with pytest.raises(OSError, match="disk full"):
        train(settings, filled, force=True, text_epochs=0)
    assert list_runs(settings.runs_url) == []
    assert list((settings.data_dir / "runs").iterdir()) == []


def test_a_model_below_popularity_is_refused(
    filled: Engine, settings: EmbedderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {
        "models": {"pinsage-linear": {"recall@20": {"mean": 0.1}}, "popularity": {"recall@20": {"mean": 0.2}}}
    }

    def evaluate(inputs: training.Inputs) -> Iterator[Progress]:
        return 1, bad
        yield

    monkeypatch.setattr(training, "evaluate", evaluate)
    with pytest.raises(
        RefusedModelError, match=r"recall@20 is 0\.1000, that of popularity is 0\.2000.*--force"
    ):
        train(settings, filled, text_epochs=0)
    assert list_runs(settings.runs_url) == []
    check_quality("pinsage-linear", bad, force=True)
    check_quality("pinsage-linear", {}, force=False)


def test_the_evaluated_model_has_not_seen_what_came_after_the_cut(
    filled: Engine, settings: EmbedderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    latest: dict[str, int] = {}
    original = training.train

    def spy(features: object, readings: object, *rest: object, stage: str, **named: object) -> object:
        latest[stage] = int(readings.time.max())  # type: ignore[attr-defined]
        return original(features, readings, *rest, stage=stage, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "train", spy)
    train(settings, filled, force=True, text_epochs=0)
    times = np.sort(make_readings(each=40).time)
    assert latest["Training (evaluation)"] < times[int(0.7 * len(times))]
    assert latest["Choosing"] < latest["Training (evaluation)"]
    assert latest["Training (all)"] == times[-1]


def test_readers_of_one_post_before_the_cut_cannot_be_evaluated(
    engine: Engine, settings: EmbedderSettings
) -> None:
    # Forty readers read one post each; then one of them reads ten of these posts more.
    posts = make_posts(40)
    once = [(reader, reader, reader) for reader in range(40)]
    later = [(0, item, 100 + item) for item in range(1, 12)]
    reader, item, day = (np.array(column) for column in zip(*once, *later, strict=True))
    put_posts(engine, posts)
    put_readings(engine, posts, Readings(reader, item, day * DAY_MICROS, np.ones(len(day))).sorted())
    assert train(settings, engine, text_epochs=0).metrics == {}


def test_too_few_readings_to_evaluate_still_give_a_run(engine: Engine, settings: EmbedderSettings) -> None:
    posts = make_posts(30)
    put_posts(engine, posts)
    put_readings(engine, posts, make_readings(readers=3, posts=30, each=5))
    steps = list(train_run(settings, engine, text_epochs=0))
    assert any(isinstance(step, Said) and "could not be evaluated" in step.text for step in steps)
    assert list_runs(settings.runs_url)[0].manifest.metrics == {}


def test_nothing_to_train_on_is_told(engine: Engine, settings: EmbedderSettings) -> None:
    with pytest.raises(TooLittleDataError, match="There are no posts to train on: import items first"):
        train(settings, engine)
    posts = make_posts(3)
    put_posts(engine, posts)
    with pytest.raises(TooLittleDataError, match="There are no readings to train on: import interactions"):
        train(settings, engine)
    readings = make_readings(readers=2, posts=3, each=2)
    put_readings(engine, posts, readings.take(np.array([0, 2])))
    with pytest.raises(TooLittleDataError, match="No reader has read two posts"):
        train(settings, engine)


def test_arguments_are_checked_as_settings_are(filled: Engine, settings: EmbedderSettings) -> None:
    with pytest.raises(SettingsError, match="NEARFEED_DIM"):
        train(settings, filled, dim=1)


def test_runs_are_listed_with_their_metrics(trained: Run, tmp_path: Path) -> None:
    (said,) = list_trained(f"file://{tmp_path}")
    assert isinstance(said, Said)
    (table,) = list_trained(trained.url.rsplit("/", 1)[0])
    assert isinstance(table, Listed)
    ((space, model, _, readings, recall, _),) = table.rows
    assert (space, model, readings) == (trained.manifest.space, "pinsage-linear", "2400")
    assert recall == f"{trained.manifest.metrics['models']['pinsage-linear']['recall@20']['mean']:.4f}"


def test_a_run_without_an_encoder_has_none(trained: Run) -> None:
    checksums = {name: "" for name in trained.manifest.checksums if not name.startswith("encoder/")}
    bare = trained.manifest.model_copy(update={"checksums": checksums})
    assert load_encoder(Run(trained.url, bare), CPU) is None


def test_hidden_posts_are_no_readings(engine: Engine, settings: EmbedderSettings) -> None:
    posts = make_posts(30)
    put_posts(engine, posts)
    put_readings(engine, posts, make_readings(readers=3, posts=30, each=5))
    with engine.begin() as transaction:
        transaction.execute(interactions.update().where(interactions.c.user_id == "u000").values(hide_at=1))
    assert len(finish(read_dataset(engine, settings.weight_rule)).readings) == 2 * 5
