from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from nearfeed_contracts.errors import NotFoundError
from nearfeed_contracts.events import ItemDeleted
from nearfeed_contracts.runs import open_run, write_manifest
from nearfeed_contracts.tables import items
from nearfeed_indexer.checking import LATEST, find_run
from nearfeed_indexer.loading import Loader, load_run, load_vectors
from nearfeed_indexer.opening import open_space
from nearfeed_runtime.operations import Progress, Said

START = datetime(2026, 1, 1, tzinfo=UTC)
IDS = [f"i{n}" for n in range(7)]


def loader(world: Any, folder: Path, pump: Any = None) -> Loader:
    return Loader(world.engine, world.store, folder.as_uri(), 0, pump or (lambda: None))


def load_fully(world: Any, checked: Any) -> None:
    open_space(world.engine, world.store, checked.run)
    list(load_vectors(world.engine, world.store, checked))


def check_space(world: Any, space: str, versions: dict[str, int]) -> None:
    """SQL and store hold these versions of posts, trained, and nothing else."""
    live = {item_id: row for item_id, row in world.contexts(space).items() if row[1] is not None}
    assert live == {i: (v, world.context_of(space, i, v), False) for i, v in versions.items()}
    assert world.vectors(space) == {i: world.vector_of(space, i, v).tobytes() for i, v in versions.items()}


def test_a_load_puts_known_posts_and_counts_the_others(world: Any, tmp_path: Path) -> None:
    world.add_items("i1", "i2", "i3")
    with world.engine.begin() as transaction:
        transaction.execute(update(items).where(items.c.item_id == "i3").values(deleted=True))
    url = world.write_run(tmp_path, "s1", {"i1": None, "i2": None, "i3": None, "i9": None})
    world.build_readers("s1")
    steps = list(load_run(loader(world, tmp_path), url))
    check_space(world, "s1", {"i1": 1, "i2": 1})
    assert world.spaces() == {"s1": "ready"}
    assert Progress("Vectors", 4, 4) in steps
    assert any(isinstance(step, Said) and "2 of the run's 4 posts" in step.text for step in steps)


@pytest.mark.parametrize("how", ["name", "path", "url"])
def test_a_run_is_found_by_name_path_and_url(world: Any, tmp_path: Path, how: str) -> None:
    world.add_items("i1")
    url = world.write_run(tmp_path, "s1", {"i1": 1})
    world.build_readers("s1")
    named = {"name": "s1", "path": str(tmp_path / "s1"), "url": url}[how]
    list(load_run(loader(world, tmp_path), named))
    assert world.spaces() == {"s1": "ready"}


def test_an_older_version_of_the_run_waits_for_the_newer_one(world: Any, tmp_path: Path) -> None:
    world.add_items("i1", version=3)
    load_fully(world, world.checked_run(world.write_run(tmp_path, "s1", {"i1": 2})))
    check_space(world, "s1", {"i1": 2})
    world.apply(world.vector("s1", "i1", 3))
    check_space(world, "s1", {"i1": 3})


def test_a_load_never_undoes_what_the_streams_have_done(world: Any, tmp_path: Path) -> None:
    world.add_items("i1", "i2", "i3")
    checked = world.checked_run(world.write_run(tmp_path, "s1", {"i1": 2, "i2": 2, "i3": 2}))
    open_space(world.engine, world.store, checked.run)
    world.apply(
        world.vector("s1", "i1", 3), ItemDeleted(item_id="i2", version=2), world.vector("s1", "i3", 2, True)
    )
    list(load_vectors(world.engine, world.store, checked))
    check_space(world, "s1", {"i1": 3, "i3": 2})


def test_a_load_that_crashes_at_any_point_goes_on_when_called_again(new_world: Any, tmp_path: Path) -> None:
    url = new_world().write_run(tmp_path, "s1", dict.fromkeys(IDS, 1))
    points = 0
    crashed = True
    while crashed:
        world = new_world()
        world.add_items(*IDS)
        checked = world.checked_run(url)
        world.fault.countdown = points
        crashed = _crashes(world, checked)
        fed = "s1" in world.spaces()
        world.apply(ItemDeleted(item_id="i0", version=2), world.vector("s1", "i1", 2))
        load_fully(world, checked)
        check_space(world, "s1", {"i1": 2 if fed else 1, **dict.fromkeys(IDS[2:], 1)})
        points += 1
    assert points > 40


def _crashes(world: Any, checked: Any) -> bool:
    try:
        load_fully(world, checked)
    except world.CrashError:
        return True
    world.fault.countdown = None
    return False


def test_going_on_leaves_alone_what_is_there(world: Any, tmp_path: Path) -> None:
    world.add_items(*IDS)
    checked = world.checked_run(world.write_run(tmp_path, "s1", dict.fromkeys(IDS, 1)))
    load_fully(world, checked)
    before = world.changes("s1")
    load_fully(world, checked)
    assert world.changes("s1") == before


def test_latest_is_the_newest_run_of_vectors(world: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no run of vectors"):
        find_run(LATEST, tmp_path.as_uri())
    for day, space in ((2, "newest"), (1, "older")):
        url = world.write_run(tmp_path, space, {"i1": None})
        manifest = open_run(url).manifest
        write_manifest(url, manifest.model_copy(update={"created_at": START + timedelta(days=day)}))
    assert find_run(LATEST, tmp_path.as_uri()).manifest.space == "newest"
