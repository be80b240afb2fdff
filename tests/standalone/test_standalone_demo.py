"""The demo's steps on a few readers: what they lead to, and that none is done twice."""

import io
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from sqlalchemy import Engine, func, select

from nearfeed_backends.opening import open_database
from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.runs import Block, Manifest, run_url, write_manifest, write_vectors
from nearfeed_contracts.tables import (
    active_space_name,
    interactions,
    items,
    memberships,
    outbox,
    user_vectors,
)
from nearfeed_standalone.demo import files, steps
from nearfeed_standalone.demo.farewell import example_of, print_next_steps
from nearfeed_standalone.demo.films import films_of, load_ratings

Demo = Callable[..., str]


@pytest.fixture(scope="module")
def ratings() -> pl.DataFrame:
    return load_ratings().filter(pl.col("userId").is_between(1, 12))


@pytest.fixture
def trained(tmp_path: Path, ratings: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Stands for the training; records how often it was asked for, with how many epochs."""
    calls: list[int | None] = []
    monkeypatch.setattr(files, "load_ratings", lambda: ratings)

    def train(data_dir: Path, options: Mapping[str, Any]) -> None:
        calls.append(options["epochs"])
        url = run_url(f"file://{data_dir}/runs", "taste-1")
        ids = films_of(ratings, 0).items["item_id"].to_list()
        vectors = np.random.default_rng(0).normal(size=(len(ids), 8)).astype(np.float32)
        write_vectors(url, ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        blocks = (Block(start=0, dim=8, normalize=True),)
        now = datetime.now(UTC)
        write_manifest(url, Manifest(space="taste-1", model="taste", dim=8, blocks=blocks, created_at=now))

    monkeypatch.setattr(steps, "train", train)
    return calls


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    """Runs all steps but the serving; returns what was printed."""

    def run(*, fresh: bool = False, epochs: int | None = None) -> str:
        told = io.StringIO()
        choices = steps.Choices(tmp_path / "data", epochs=epochs, fresh=fresh, serve=False)
        steps.run_demo(choices, Console(file=told, width=200))
        return told.getvalue()

    return run


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_database(f"sqlite:///{tmp_path}/data/nearfeed.db")


def count(engine: Engine, table: object) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(select(func.count()).select_from(table)) or 0)  # type: ignore[arg-type]


def test_from_films_to_a_space(
    demo: Demo, trained: list[int | None], ratings: pl.DataFrame, engine: Engine
) -> None:
    demo(epochs=3)
    films = films_of(ratings, 0)
    assert trained == [3]
    assert count(engine, items) == len(films.items)
    assert count(engine, interactions) == len(ratings)
    assert count(engine, memberships) == len(films.memberships)
    assert count(engine, outbox) == 0
    assert count(engine, user_vectors) == 12
    with engine.connect() as connection:
        assert connection.scalar(select(active_space_name())) == "taste-1"


def test_a_second_run_does_nothing_again(demo: Demo, trained: list[int | None]) -> None:
    demo()
    told = demo()
    assert trained == [None]
    assert told.count("was imported before") == 3
    assert "run taste-1 was trained before" in told
    assert "space taste-1 is active" in told


def test_fresh_begins_anew(demo: Demo, trained: list[int | None]) -> None:
    demo()
    assert "was imported before" not in demo(fresh=True)
    assert len(trained) == 2


def test_a_failed_training_is_told_and_leaves_the_rest(
    demo: Demo, trained: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(steps, "train", _failing)
        with pytest.raises(NearfeedError, match="Training ended"):
            demo()
    assert demo().count("was imported before") == 3
    assert trained == [None]


def _failing(_data_dir: Path, _options: Mapping[str, Any]) -> None:
    raise NearfeedError("Training ended with status 1; its last lines above say why.")


def test_a_load_that_was_broken_off_before_activation(
    demo: Demo, trained: list[int | None], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo()
    with engine.begin() as transaction:
        transaction.exec_driver_sql("DELETE FROM active_space")
    demo()
    with engine.connect() as connection:
        assert connection.scalar(select(active_space_name())) == "taste-1"
    assert trained == [None]


def test_what_is_told_makes_sense(demo: Demo, trained: list[int | None], engine: Engine) -> None:
    demo()
    example = example_of(engine)
    with engine.connect() as connection:
        read = set(
            connection.scalars(
                select(interactions.c.item_id).where(interactions.c.user_id == example.user_id)
            )
        )
        joined = set(
            connection.scalars(
                select(memberships.c.community_id).where(memberships.c.user_id == example.user_id)
            )
        )
        new = connection.execute(select(items).where(items.c.item_id == example.new_id)).one()
    assert read
    assert example.new_id not in read
    assert new.community_id in joined
    told = io.StringIO()
    print_next_steps(engine, "nearfeed", Console(file=told, width=60), "http://127.0.0.1:8080")
    lines = [line for line in told.getvalue().splitlines() if line.startswith("curl ")]
    assert len(lines) == 3
    assert f"user_id={example.user_id}" in lines[0]
    assert f'"item_id":"{example.new_id}"' in lines[1]
