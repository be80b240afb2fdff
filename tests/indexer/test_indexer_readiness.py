from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event

from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.events import ItemDeleted
from nearfeed_contracts.vector_store import Hits
from nearfeed_indexer.dropping import drop_space
from nearfeed_indexer.loading import Loader, load_run, load_vectors
from nearfeed_indexer.opening import open_space
from nearfeed_indexer.readiness import NotReadyError, wait_until_ready
from nearfeed_indexer.recall import search_recall
from nearfeed_runtime.operations import Progress, Said

IDS = [f"i{n}" for n in range(60)]


class Tampered:
    """The exact store, but for one method."""

    def __init__(self, store: Any, name: str, method: Callable[..., Any]) -> None:
        self._store, self._name, self._method = store, name, method

    def __getattr__(self, name: str) -> Any:
        return self._method if name == self._name else getattr(self._store, name)


def _load(world: Any, folder: Path, pump: Callable[[], None] = lambda: None, wait: float = 0) -> list[Any]:
    return list(load_run(Loader(world.engine, world.store, folder.as_uri(), wait, pump), "s1"))


def _feed(world: Any, event: Any) -> None:
    if event is not None:
        world.apply(event)


def _write(world: Any, folder: Path, encoder: bool = True) -> None:
    world.add_items(*IDS)
    world.write_run(folder, "s1", dict.fromkeys(IDS, 1), encoder=encoder)


def test_a_space_without_fault_becomes_ready(world: Any, tmp_path: Path) -> None:
    _write(world, tmp_path)
    world.build_readers("s1", readers=7)
    steps = _load(world, tmp_path)
    assert world.spaces() == {"s1": "ready"}
    assert Progress("Posts with a vector", 60, 60) in steps
    assert Progress("Readers", 7, 7) in steps
    assert Said("Space s1 is ready: 60 posts, 7 readers, recall@20 of its search 1.000.") in steps


def test_every_post_needs_a_vector_of_its_current_version(world: Any, tmp_path: Path) -> None:
    _write(world, tmp_path)
    world.build_readers("s1")
    world.add_items("i90")
    world.apply(world.item("i3", 2))
    with pytest.raises(NotReadyError, match="2 posts have no vector of their current version"):
        _load(world, tmp_path)
    assert world.spaces() == {"s1": "loading"}
    owed = [world.vector("s1", "i3", 2), world.vector("s1", "i90", 1)]
    pump = chain([None], owed)
    steps = _load(world, tmp_path, pump=lambda: _feed(world, next(pump)), wait=60)
    assert world.spaces() == {"s1": "ready"}
    waited = [step.done for step in steps if isinstance(step, Progress) and step.stage.startswith("Posts")]
    assert waited == [59, 60, 61]


def test_deleted_posts_need_no_vector(world: Any, tmp_path: Path) -> None:
    _write(world, tmp_path)
    world.build_readers("s1")
    world.apply(ItemDeleted(item_id="i3", version=2))
    _load(world, tmp_path)
    assert world.spaces() == {"s1": "ready"}


def test_a_run_without_encoder_says_what_stays_without_a_vector(world: Any, tmp_path: Path) -> None:
    _write(world, tmp_path, encoder=False)
    world.build_readers("s1")
    world.add_items("i90")
    world.apply(world.item("i3", 2))
    steps = _load(world, tmp_path)
    assert world.spaces() == {"s1": "ready"}
    assert any(isinstance(s, Said) and s.text.startswith("2 posts stay without a vector") for s in steps)


def test_posts_of_the_run_that_come_in_late_are_fetched_by_loading_again(world: Any, tmp_path: Path) -> None:
    world.add_items(*IDS[1:])
    world.write_run(tmp_path, "s1", dict.fromkeys(IDS, 1))
    with pytest.raises(NotReadyError, match="readers"):
        _load(world, tmp_path)
    world.add_items("i0")
    world.build_readers("s1")
    _load(world, tmp_path)
    assert world.spaces() == {"s1": "ready"}
    assert set(world.vectors("s1")) == set(IDS)


def test_the_store_must_hold_as_many_vectors_as_sql(world: Any, tmp_path: Path) -> None:
    _write(world, tmp_path)
    with pytest.raises(NotReadyError, match="readers"):
        _load(world, tmp_path)
    world.build_readers("s1")
    world.exact.delete("s1", ["i3"])
    with pytest.raises(NotReadyError, match="the vector store holds 59 vectors of its 60 posts"):
        _load(world, tmp_path)
    assert world.spaces() == {"s1": "loading"}


def test_a_load_that_waits_for_others_does_not_keep_them_from_writing(world: Any, tmp_path: Path) -> None:
    world.add_items(*IDS, "i90")
    checked = world.checked_run(world.write_run(tmp_path, "s1", dict.fromkeys(IDS, 1), encoder=True))
    begun: list[str] = []
    looks = iter(range(5))

    def look_again() -> None:
        if next(looks, None) is None:
            raise TimeoutError

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        begun.append(statement)

    open_space(world.engine, world.store, checked.run)
    list(load_vectors(world.engine, world.store, checked))
    event.listen(world.engine, "before_cursor_execute", note)
    with pytest.raises(TimeoutError):
        list(wait_until_ready(world.engine, world.store, checked, 60, look_again))
    event.remove(world.engine, "before_cursor_execute", note)
    assert begun
    assert not [one for one in begun if "IMMEDIATE" in one or "FOR UPDATE" in one]


def test_a_search_that_misses_neighbours_is_refused(world: Any, tmp_path: Path) -> None:
    _write(world, tmp_path)
    world.build_readers("s1")
    exact = world.store

    def lossy(space: str, vector: Any, k: int, where: Any) -> Hits:
        return exact.search(space, vector, k + 1, where)[1:]

    world.store = Tampered(exact, "search", lossy)
    with pytest.raises(NotReadyError, match=r"the recall@20 of its search is 0\.9\d\d, below 0\.99"):
        _load(world, tmp_path)
    world.store = exact
    _load(world, tmp_path)
    assert world.spaces() == {"s1": "ready"}


def test_vectors_that_were_stored_wrongly_are_noticed(world: Any, tmp_path: Path) -> None:
    _write(world, tmp_path)
    world.build_readers("s1")
    exact = world.store

    def shifted(space: str, vectors: Any) -> None:
        rolled = np.roll([row.item_id for row in vectors], 1)
        for row, item_id in zip(vectors, rolled, strict=True):
            object.__setattr__(row, "item_id", str(item_id))
        exact.upsert(space, vectors)

    world.store = Tampered(exact, "upsert", shifted)
    with pytest.raises(NotReadyError, match="recall@20"):
        _load(world, tmp_path)


def test_readers_of_a_dropped_space_of_that_name_do_not_count(world: Any, tmp_path: Path) -> None:
    _write(world, tmp_path)
    with pytest.raises(NotReadyError, match="its readers are not built"):
        _load(world, tmp_path)
    world.build_readers("s1", change_id=max(world.changes("s1").values()))
    list(drop_space(world.engine, world.store, "s1"))
    with pytest.raises(NotReadyError, match="its readers are not built"):
        _load(world, tmp_path)
    assert world.spaces() == {"s1": "loading"}


def test_the_recall_sample_follows_what_the_streams_have_changed(world: Any, tmp_path: Path) -> None:
    _write(world, tmp_path)
    checked = world.checked_run((tmp_path / "s1").as_uri())
    open_space(world.engine, world.store, checked.run)
    list(load_vectors(world.engine, world.store, checked))
    world.apply(
        *(world.vector("s1", f"i{n}", 2) for n in range(40, 80)), ItemDeleted(item_id="i1", version=2)
    )
    assert len(checked.queries) == 50
    assert search_recall(world.engine, world.store, checked) == 1.0


def test_a_space_that_is_dropped_while_it_waits_ends_the_load(world: Any, tmp_path: Path) -> None:
    _write(world, tmp_path)

    def drop() -> None:
        list(drop_space(world.engine, world.store, "s1"))

    with pytest.raises(ConflictError, match="was dropped while it was loaded"):
        _load(world, tmp_path, pump=drop, wait=60)
    assert world.spaces() == {}
