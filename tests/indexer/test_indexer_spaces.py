from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from nearfeed_contracts.errors import ConflictError, NotFoundError
from nearfeed_contracts.tables import active_space, active_space_name, reader_builds, spaces
from nearfeed_indexer.dropping import drop_space, reconcile_store
from nearfeed_indexer.loading import Loader, load_run
from nearfeed_indexer.readiness import NotReadyError
from nearfeed_indexer.spaces import COLUMNS, activate_space, list_spaces, roll_back
from nearfeed_runtime.auditing import audited, machine_user
from nearfeed_runtime.operations import Listed, Said, Step


def _load(world: Any, folder: Path, space: str, activate: bool = False) -> list[Step]:
    if not world.items():
        world.add_items("i1", "i2")
    if not (folder / space).exists():
        world.write_run(folder, space, {"i1": 1, "i2": 1}, encoder=True)
    if space not in world.spaces():
        world.build_readers(space)
    loader = Loader(world.engine, world.store, folder.as_uri(), 0, lambda: None)
    return list(load_run(loader, space, activate=activate))


def _active(world: Any) -> str | None:
    with world.engine.connect() as connection:
        return connection.scalar(select(active_space_name()))


def _said(steps: Iterator[Step]) -> str:
    return " ".join(step.text for step in steps if isinstance(step, Said))


def test_activation_and_rollback_are_one_row(world: Any, tmp_path: Path) -> None:
    assert _active(world) is None
    _load(world, tmp_path, "s1", activate=True)
    assert _active(world) == "s1"
    _load(world, tmp_path, "s2")
    assert _active(world) == "s1"
    assert "it replaced s1. To go back: spaces rollback" in _said(activate_space(world.engine, "s2"))
    assert _active(world) == "s2"
    assert "it replaced s2" in _said(roll_back(world.engine))
    assert _active(world) == "s1"
    list(roll_back(world.engine))
    assert _active(world) == "s2"
    with world.engine.connect() as connection:
        assert len(connection.execute(select(active_space)).all()) == 1


def test_a_rollback_leads_to_the_former_one_whatever_the_clock_says(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nearfeed_indexer.spaces.now_micros", iter([9, 5, 5, 5]).__next__)
    for space in ("s3", "s2", "s1"):
        _load(world, tmp_path, space, activate=True)
    list(roll_back(world.engine))
    assert _active(world) == "s2"


def test_both_spaces_are_fed_whichever_is_active(world: Any, tmp_path: Path) -> None:
    _load(world, tmp_path, "s1", activate=True)
    _load(world, tmp_path, "s2", activate=True)
    world.apply(world.vector("s1", "i3"), world.vector("s2", "i3"))
    assert set(world.vectors("s1")) == set(world.vectors("s2")) == {"i1", "i2", "i3"}


def test_activating_the_active_space_says_so(world: Any, tmp_path: Path) -> None:
    _load(world, tmp_path, "s1", activate=True)
    _load(world, tmp_path, "s2", activate=True)
    assert "active already" in _said(activate_space(world.engine, "s2"))
    list(roll_back(world.engine))
    assert _active(world) == "s1"


def test_an_unknown_space_names_those_that_exist(world: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no space s9; none has been loaded yet"):
        list(activate_space(world.engine, "s9"))
    _load(world, tmp_path, "s1")
    _load(world, tmp_path, "s2")
    with pytest.raises(NotFoundError, match="no space s9; those that exist are s1, s2"):
        list(activate_space(world.engine, "s9"))
    with pytest.raises(NotFoundError, match="no space s9; those that exist are s1, s2"):
        list(drop_space(world.engine, world.store, "s9"))


def test_a_space_that_is_not_ready_says_what_is_missing(world: Any) -> None:
    world.add_space("s1")
    with pytest.raises(NotReadyError, match="its run is not loaded to the end"):
        list(activate_space(world.engine, "s1"))
    with world.engine.begin() as transaction:
        transaction.execute(update(spaces).values(loaded_at=1))
    with pytest.raises(NotReadyError, match="its readers are not built"):
        list(activate_space(world.engine, "s1"))


def test_there_is_nothing_to_roll_back_to_at_first(world: Any, tmp_path: Path) -> None:
    _load(world, tmp_path, "s1", activate=True)
    _load(world, tmp_path, "s2")
    with pytest.raises(ConflictError, match="none to roll back to"):
        list(roll_back(world.engine))


def test_a_space_that_exists_is_not_loaded_over(world: Any, tmp_path: Path) -> None:
    _load(world, tmp_path, "s1")
    with pytest.raises(ConflictError, match="Space s1 is loaded already"):
        _load(world, tmp_path, "s1")
    other = tmp_path / "other"
    other.mkdir()
    world.write_run(other, "s1", {"i1": 2})
    with pytest.raises(ConflictError, match="Space s1 was made from another run, at file://"):
        _load(world, other, "s1")


def test_the_list_shows_states_and_figures(world: Any, tmp_path: Path) -> None:
    _load(world, tmp_path, "s1", activate=True)
    _load(world, tmp_path, "s2")
    world.add_space("s3")
    world.apply(world.vector("s2", "i3", 1, inferred=True))
    (listed,) = list_spaces(world.engine)
    assert isinstance(listed, Listed)
    assert listed.columns == COLUMNS
    assert {row[0]: row[1:7] for row in listed.rows} == {
        "s1": ("active", "2", "0", "3", "test", "0.2500"),
        "s2": ("ready", "3", "1", "3", "test", "0.2500"),
        "s3": ("loading", "0", "0", "", "test", ""),
    }


def test_a_drop_leaves_only_what_belongs_to_the_recommender(world: Any, tmp_path: Path) -> None:
    _load(world, tmp_path, "s1", activate=True)
    _load(world, tmp_path, "s2")
    list(drop_space(world.engine, world.store, "s2"))
    assert world.spaces() == {"s1": "ready"}
    assert world.contexts("s2") == {}
    assert set(world.contexts("s1")) == {"i1", "i2"}
    assert world.exact.spaces() == {"s1"}
    with world.engine.connect() as connection:
        assert set(connection.scalars(select(reader_builds.c.space))) == {"s1", "s2"}
    world.apply(world.vector("s2", "i1", 5))
    assert world.contexts("s2") == {}


def test_the_active_space_is_not_dropped(world: Any, tmp_path: Path) -> None:
    _load(world, tmp_path, "s1", activate=True)
    with pytest.raises(ConflictError, match="Space s1 is active; activate another one"):
        list(drop_space(world.engine, world.store, "s1"))
    assert set(world.vectors("s1")) == {"i1", "i2"}


@pytest.mark.parametrize("mend", ["drop", "reconcile", "load"])
def test_a_drop_that_crashes_anywhere_is_mended(new_world: Any, tmp_path: Path, mend: str) -> None:
    points, crashed = 0, True
    while crashed:
        world = new_world()
        _load(world, tmp_path, "s1", activate=True)
        _load(world, tmp_path, "s2")
        world.apply(world.vector("s2", "i3"))
        world.fault.countdown = points
        crashed = _drop_crashes(world)
        untouched = "s2" in world.spaces()
        _mend(world, tmp_path, mend)
        if "s2" in world.spaces():
            held = {"i1", "i2", "i3"} if untouched else {"i1", "i2"}
            assert set(world.contexts("s2")) == set(world.vectors("s2")) == held
        else:
            assert world.contexts("s2") == {}
            assert world.exact.spaces() == {"s1"}
        points += 1
    assert points > 15


def _drop_crashes(world: Any) -> bool:
    try:
        list(drop_space(world.engine, world.store, "s2"))
    except world.CrashError:
        return True
    world.fault.countdown = None
    return False


def _mend(world: Any, folder: Path, how: str) -> None:
    try:
        match how:
            case "drop":
                list(drop_space(world.engine, world.store, "s2"))
            case "reconcile":
                reconcile_store(world.engine, world.store)
            case _:
                with world.engine.begin() as transaction:
                    transaction.execute(reader_builds.delete().where(reader_builds.c.space == "s2"))
                _load(world, folder, "s2")
    except (NotFoundError, ConflictError):
        pass


def test_reconciling_an_empty_database_removes_nothing(world: Any) -> None:
    world.exact.create_space("elsewhere", 4)
    reconcile_store(world.engine, world.store)
    assert world.exact.spaces() == {"elsewhere"}


def test_a_space_that_the_store_has_lost_is_loaded_anew(world: Any, tmp_path: Path) -> None:
    _load(world, tmp_path, "s1", activate=True)
    world.exact.drop_space("s1")
    reconcile_store(world.engine, world.store)
    _load(world, tmp_path, "s1")
    assert set(world.vectors("s1")) == {"i1", "i2"}
    assert _active(world) == "s1"
    assert world.spaces() == {"s1": "ready"}


def test_changes_of_spaces_are_audited(world: Any, tmp_path: Path) -> None:
    _load(world, tmp_path, "s1", activate=True)
    _load(world, tmp_path, "s2")
    list(activate_space(world.engine, "s2", "Ann"))
    list(activate_space(world.engine, "s2", "Bob"))  # changes nothing
    list(drop_space(world.engine, world.store, "s1", "Cleo"))
    with world.engine.connect() as connection:
        found = audited(connection, None, 10)
    assert [(each.actor, each.action, each.target) for each in reversed(found)] == [
        (machine_user(), "spaces.load", "s1"),
        (machine_user(), "spaces.activate", "s1"),
        (machine_user(), "spaces.load", "s2"),
        ("Ann", "spaces.activate", "s2"),
        ("Cleo", "spaces.drop", "s1"),
    ]
    assert found[1].detail == {"replaced": "s1"}
