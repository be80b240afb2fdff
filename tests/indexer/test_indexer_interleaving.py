from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearfeed_contracts.events import ItemDeleted
from nearfeed_indexer.loading import load_vectors
from nearfeed_indexer.opening import open_space
from nearfeed_runtime.operations import Step

IDS = ["i0", "i1", "i2", "i3"]
RANKS = dict[str, tuple[tuple[int, bool, bool], int]]


class Oracle:
    """What SQL and store should hold, kept in plain dictionaries, one step at a time.

    A space has by post its rank and which vector it is: that of which version, and whether inferred.
    """

    def __init__(self, run: dict[str, int | None]) -> None:
        self.run = list(run.items())
        self.rows: dict[str, tuple[int, bool]] = {}
        self.spaces: dict[str, RANKS] = {"s1": {}}

    def apply(self, kind: str, item_id: str, version: int | None, trained: bool) -> None:
        row = self.rows.get(item_id, (0, False))
        match kind:
            case "item" if version > row[0]:
                self.rows[item_id] = (version, False)
            case "deleted" if version or item_id in self.rows:
                version = version or row[0]
                self.rows[item_id] = max(row, (version, True))
                for name in self.spaces:
                    self._put(name, item_id, (version, True, True), version)
            case "vector" if not (row[1] and row[0] >= version):
                for name in self.spaces:
                    self._put(name, item_id, (version, False, trained), version)

    def open_run(self) -> None:
        self.spaces.setdefault("run", {})

    def load_batch(self, start: int) -> None:
        for item_id, version in self.run[start : start + 2]:
            row = self.rows.get(item_id)
            if row is not None and not row[1]:
                self._put("run", item_id, (version or row[0], False, True), version or 1)

    def _put(self, space: str, item_id: str, rank: tuple[int, bool, bool], source: int) -> None:
        found = self.spaces[space]
        if item_id not in found or rank >= found[item_id][0]:
            found[item_id] = (rank, source)


NAMES = st.sampled_from(IDS)
STEPS = st.one_of(
    st.tuples(st.just("item"), NAMES, st.integers(1, 4), st.just(True)),
    st.tuples(st.just("deleted"), NAMES, st.none() | st.integers(1, 4), st.just(True)),
    st.tuples(st.just("vector"), NAMES, st.integers(1, 4), st.booleans()),
    st.just(("load",)),
    st.just(("break off",)),
)
VERSIONED = st.fixed_dictionaries({name: st.integers(1, 4) for name in IDS})
UNVERSIONED = st.just(dict.fromkeys(IDS))


class Loading:
    """A load that goes on by one batch at a time, and begins anew after a crash."""

    def __init__(self, world: Any, url: str, oracle: Oracle) -> None:
        self.world, self.oracle = world, oracle
        self.checked = world.checked_run(url)
        self.steps: Iterator[Step] | None = None
        self.done = 0

    def break_off(self) -> None:
        self.steps = None

    def load_batch(self) -> None:
        if self.steps is None:
            self._begin()
        try:
            next(self.steps)
        except self.world.CrashError:
            self._begin()
            next(self.steps)
        self.oracle.load_batch(self.done)
        self.done = (self.done + 2) % len(IDS)
        if not self.done:
            self.break_off()

    def _begin(self) -> None:
        try:
            open_space(self.world.engine, self.world.store, self.checked.run)
        except self.world.CrashError:
            open_space(self.world.engine, self.world.store, self.checked.run)
        self.oracle.open_run()
        self.steps = load_vectors(self.world.engine, self.world.store, self.checked)
        self.done = 0


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(STEPS, max_size=25),
    run=VERSIONED | UNVERSIONED,
    crashes=st.lists(st.integers(0, 120), max_size=2),
)
def test_loads_interleaved_with_streams_and_crashes_end_as_the_oracle_says(
    new_world: Any, tmp_path_factory: pytest.TempPathFactory, steps: list[Any], run: Any, crashes: list[int]
) -> None:
    world, oracle = new_world(), Oracle(run)
    world.add_space("s1")
    loading = Loading(world, world.write_run(tmp_path_factory.mktemp("run"), "run", run), oracle)
    for step in steps:
        if crashes and world.fault.countdown is None:
            world.fault.countdown = crashes.pop()
        match step:
            case ("break off",):
                loading.break_off()
            case ("load",):
                loading.load_batch()
            case _:
                _apply_drawn(world, step)
                oracle.apply(*step)
    world.fault.countdown = None
    loading.break_off()
    loading.load_batch()
    loading.load_batch()
    assert world.items() == oracle.rows
    for space, ranks in oracle.spaces.items():
        _check_ranks(world, space, ranks)


def _apply_drawn(world: Any, step: Any) -> None:
    kind, item_id, version, trained = step
    match kind:
        case "item":
            event = world.item(item_id, version)
        case "deleted":
            event = ItemDeleted(item_id=item_id, version=version)
        case _:
            return _apply(world, *(world.vector(s, item_id, version, not trained) for s in ("s1", "run")))
    _apply(world, event)


def _apply(world: Any, *events: Any) -> None:
    try:
        world.apply(*events)
    except world.CrashError:
        world.apply()


def _check_ranks(world: Any, space: str, ranks: RANKS) -> None:
    contexts, vectors = {}, {}
    for item_id, ((version, dead, trained), source) in ranks.items():
        which = (space, item_id, source, not trained)
        contexts[item_id] = (version, None if dead else world.context_of(*which))
        if not dead:
            vectors[item_id] = world.vector_of(*which).tobytes()
    assert {item_id: row[:2] for item_id, row in world.contexts(space).items()} == contexts
    assert world.vectors(space) == vectors
