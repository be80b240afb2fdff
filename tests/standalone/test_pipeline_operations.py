"""A pipeline by the real operations on embedded back ends; runs of random vectors stand for the training."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, select

from nearfeed_backends.opening import open_database
from nearfeed_contracts.runs import Block, Manifest, list_runs, run_url, write_manifest, write_vectors
from nearfeed_contracts.tables import active_space_name
from nearfeed_runtime.operations import Progress, Said
from nearfeed_runtime.settings import Settings
from nearfeed_standalone import flow
from nearfeed_standalone.demo.films import films_of, load_ratings
from nearfeed_standalone.pipeline import state
from nearfeed_standalone.pipeline.context import Context, StepError
from nearfeed_standalone.pipeline.definition import Pipeline
from nearfeed_standalone.pipeline.executing import Execution, new_run_id, run_pipeline
from nearfeed_standalone.running import make_runner


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the files of twelve readers beside it."""
    ratings = load_ratings().filter(load_ratings()["userId"].is_between(1, 12))
    films = films_of(ratings, 0)
    films.items.write_parquet(tmp_path / "items.parquet")
    films.interactions.write_parquet(tmp_path / "interactions.parquet")
    monkeypatch.setenv("NEARFEED_VECTORS_URL", f"faiss://{tmp_path}/data/vectors")
    return tmp_path / "data"


@pytest.fixture
def engine(data_dir: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{data_dir}/nearfeed.db")
    yield engine
    engine.dispose()


def train(data_dir: Path, engine: Engine, options: Mapping[str, Any]) -> None:
    """Of as many dimensions as the options say, with the recall that they state."""
    settings = Settings(data_dir=data_dir)
    with engine.connect() as connection:
        ids = list(connection.exec_driver_sql("SELECT item_id FROM items").scalars())
    space, dim = f"taste-{len(list_runs(settings.runs_url)) + 1}", options["dim"]
    url = run_url(settings.runs_url, space)
    vectors = np.random.default_rng(0).normal(size=(len(ids), dim)).astype(np.float32)
    write_vectors(url, ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    told = {"taste": {"recall@20": {"mean": options["recall"]}}, "popularity": {"recall@20": {"mean": 0.1}}}
    block = Block(start=0, dim=dim, normalize=True)
    manifest = Manifest(space=space, model="taste", dim=dim, blocks=(block,), created_at=datetime.now(UTC))
    write_manifest(url, manifest.model_copy(update={"metrics": {"models": told}}))


def run(data_dir: Path, engine: Engine, kinds: tuple[str, ...], options: Mapping[str, Any]) -> list[str]:
    """The states of the steps of a run."""
    files = [{"kind": kind, "file": data_dir.parent / f"{kind}.parquet"} for kind in kinds]
    rule = {"evaluate": {"models": ["popularity"]}, "gate": {"may_lie_below": {"popularity": 0, "active": 0}}}
    given = {"name": "small", "import": files, "train": dict(options), **rule, "load": {}, "activate": {}}
    pipeline = Pipeline.model_validate(given)
    context = Context(
        Settings(data_dir=data_dir), engine, make_runner(data_dir), partial(train, data_dir, engine)
    )
    execution = Execution(context, pipeline, new_run_id(pipeline), tell=lambda steps: list(steps))
    try:
        run_pipeline(execution)
    finally:
        found = [row.state for row in state.steps_of(engine, execution.run_id)]
    return found


def active(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return connection.scalar(select(active_space_name()))


def test_from_files_to_a_space_and_what_is_done_again(data_dir: Path, engine: Engine) -> None:
    options = {"dim": 8, "recall": 0.2}
    assert run(data_dir, engine, ("items",), options) == ["done"] * 6
    assert active(engine) == "taste-1"
    assert run(data_dir, engine, ("items",), options) == ["skipped"] * 6

    # Readings come in: all but the first file is done again, and another space is served.
    assert run(data_dir, engine, ("items", "interactions"), options) == ["done"] * 6
    assert active(engine) == "taste-2"

    # The operator goes back: what was done to serve it is done again.
    runner = make_runner(data_dir)
    list(runner("spaces.rollback", {}))
    list(runner("spaces.drop", {"space": "taste-2"}))
    assert active(engine) == "taste-1"
    assert run(data_dir, engine, ("items", "interactions"), options) == ["skipped"] * 4 + ["done"] * 2
    assert active(engine) == "taste-2"

    # A worse model is trained, and refused.
    with pytest.raises(StepError, match=r"its recall@20 is 0\.1500, that of active 0\.2000"):
        run(data_dir, engine, ("items", "interactions"), options | {"recall": 0.15})
    assert active(engine) == "taste-2"
    (*_, refused) = state.all_runs(engine)
    assert (refused.state, refused.passed) == ("failed", 3)


def test_services_elsewhere_are_waited_for(
    data_dir: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "_PATIENCE_SECONDS", 0.3)
    arguments = {"kind": "items", "path": str(data_dir.parent / "items.parquet")}
    *_, told = make_runner(data_dir, services_elsewhere=True)("import", arguments)
    assert isinstance(told, Said)
    assert "events are still to be taken in; other processes go on with them" in told.text
    *_, told = make_runner(data_dir)("import", arguments)
    assert isinstance(told, Progress)
    assert told.done == told.total
