"""Spaces whose vectors the store lacks are loaded again from their runs."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from nearfeed_contracts.tables import active_space_name, spaces
from nearfeed_indexer.loading import Loader, load_run
from nearfeed_indexer.restoring import lost_spaces, restore_spaces
from nearfeed_runtime.operations import Said, Step


@pytest.fixture
def loader(world: Any, tmp_path: Path) -> Loader:
    """With the spaces s1, which is active, and s2, of runs that hold i1 and i2 in version 1."""
    world.add_items("i1", "i2")
    loader = Loader(world.engine, world.store, tmp_path.as_uri(), 0, lambda: None)
    for space in ("s1", "s2"):
        world.write_run(tmp_path, space, {"i1": 1, "i2": 1}, encoder=True)
        world.build_readers(space)
        list(load_run(loader, space, activate=space == "s1"))
    return loader


def said(steps: Iterator[Step]) -> list[str]:
    return [step.text for step in steps if isinstance(step, Said)]


def active(world: Any) -> str | None:
    with world.engine.connect() as connection:
        return connection.scalar(select(active_space_name()))


def test_nothing_is_done_where_nothing_is_lost(world: Any, loader: Loader) -> None:
    before = world.changes("s1")
    assert list(restore_spaces(loader)) == []
    assert world.changes("s1") == before


def test_all_lost_spaces_are_loaded_and_the_active_one_stays_so(world: Any, loader: Loader) -> None:
    vectors = {space: world.vectors(space) for space in ("s1", "s2")}
    for space in vectors:
        world.exact.drop_space(space)
    assert [row.space for row in lost_spaces(world.engine, world.store)] == ["s1", "s2"]
    lines = said(restore_spaces(loader))
    assert "The vector store has no vectors of space s1: loading its run again." in lines
    assert {space: world.vectors(space) for space in vectors} == vectors
    assert world.spaces() == {"s1": "ready", "s2": "ready"}
    assert active(world) == "s1"


def test_an_emptied_space_is_lost_too(world: Any, loader: Loader) -> None:
    vectors = world.vectors("s1")
    world.exact.delete("s1", ["i1", "i2"])
    list(restore_spaces(loader))
    assert world.vectors("s1") == vectors


def test_posts_newer_than_the_run_wait_for_the_embedder(world: Any, loader: Loader) -> None:
    world.add_items("i3")
    world.apply(world.vector("s1", "i3", inferred=True))
    before = world.contexts("s1")
    world.exact.drop_space("s1")
    lines = said(restore_spaces(loader))
    assert any("1 posts have no vector of their current version" in line for line in lines)
    assert set(world.contexts("s1")) == {"i1", "i2"}
    assert world.spaces()["s1"] == "loading"
    world.apply(world.vector("s1", "i3", inferred=True))
    assert world.contexts("s1") == before
    list(restore_spaces(loader))
    assert world.spaces()["s1"] == "ready"


def test_a_space_whose_run_is_gone_is_reported_each_time_and_still_fed(world: Any, loader: Loader) -> None:
    run = Path(loader.runs_url.removeprefix("file://"), "s1")
    shutil.move(run, run.with_name("elsewhere"))
    for space in ("s1", "s2"):
        world.exact.drop_space(space)
    contexts = world.contexts("s1")
    for _ in range(2):
        [first, *rest] = said(restore_spaces(loader))
        assert first.startswith("The vector store has no vectors of space s1, and its run file://")
        assert first.endswith("or run `nearfeed train` and `nearfeed load latest --activate`.")
        assert not [line for line in rest if "s1" in line]
    assert world.spaces() == {"s1": "ready", "s2": "ready"}
    assert world.contexts("s1") == contexts
    assert len(world.vectors("s2")) == 2
    shutil.move(run.with_name("elsewhere"), run)
    list(restore_spaces(loader))
    assert len(world.vectors("s1")) == 2


def test_a_run_is_found_where_the_folder_of_runs_was_moved(
    world: Any, loader: Loader, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.move(tmp_path / "s1", moved / "s1")
    world.exact.drop_space("s1")
    list(restore_spaces(Loader(world.engine, world.store, moved.as_uri(), 0, lambda: None)))
    assert len(world.vectors("s1")) == 2
    with world.engine.connect() as connection:
        url = connection.scalar(select(spaces.c.run_url).where(spaces.c.space == "s1"))
    assert url == (moved / "s1").as_uri()


@pytest.mark.parametrize("crash", range(0, 60, 4))
def test_a_restoring_that_was_interrupted_is_ended_by_the_next(
    world: Any, loader: Loader, crash: int
) -> None:
    vectors = world.vectors("s1")
    world.exact.drop_space("s1")
    world.fault.countdown = crash
    with suppress(world.CrashError):
        list(restore_spaces(loader))
    world.fault.countdown = None
    list(restore_spaces(loader))
    assert world.vectors("s1") == vectors
    assert world.spaces() == {"s1": "ready", "s2": "ready"}
