"""The models that the configuration names, kept loaded beside the requests.

`refresh` reads runs that are new, and forgets models that nobody names any more; while a newer run of a model
is read, the former one goes on answering.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Engine, select

from nearfeed_contracts.errors import BackendUnavailableError, NotFoundError, public_message
from nearfeed_contracts.runs import Manifest, Run, RunKind, open_run, run_url
from nearfeed_contracts.tables import spaces
from nearfeed_recommender.config.live import LiveConfig
from nearfeed_recommender.config.schema import (
    ACTIVE,
    GraphModel,
    ListsModel,
    NeighboursModel,
    RankerModel,
    RunModel,
    VectorsModel,
)
from nearfeed_recommender.config.world import latest_run, readable_runs
from nearfeed_recommender.models.lists import load_lists
from nearfeed_recommender.models.neighbours import load_neighbours
from nearfeed_recommender.models.onnx_files import Tower, load_tower
from nearfeed_recommender.models.rankers import load_ranker
from nearfeed_recommender.models.walks import follow, load_graph
from nearfeed_runtime.sql import read_connection

logger = structlog.get_logger(__name__)
_AGAIN_SECONDS = 30.0
_EVERY_SECONDS = 5.0
LOADERS: Mapping[type[RunModel], Callable[[Run], Any]] = {
    NeighboursModel: load_neighbours,
    ListsModel: load_lists,
    GraphModel: load_graph,
    RankerModel: load_ranker,
}


class ModelNotLoadedError(BackendUnavailableError):
    """A model that is not there yet, or cannot be read; the text says why."""


@dataclass(frozen=True)
class Loaded:
    """A model, the run that it was read from, and what adds to it what was read since."""

    run: str
    model: object
    follow: Callable[[], int]


class Registry:
    """Requests read it from any thread; `refresh` is called by one."""

    def __init__(self, engine: Engine, runs_url: str, config: LiveConfig) -> None:
        self._engine = engine
        self._runs_url = runs_url
        self._config = config
        self._loaded: dict[str, Loaded] = {}
        self._towers: dict[str, Tower] = {}
        self._spaces: frozenset[str] = frozenset()
        self._faults: dict[str, str] = {}
        self._again_at: dict[str, float] = {}
        self._version, self._due = -1, 0.0
        self._looking = threading.Lock()

    def get(self, name: str) -> Any:
        """The model of a name in the configuration, of the kind that it has there.

        Raises ModelNotLoadedError.
        """
        loaded = self._loaded.get(name)
        if loaded is None:
            raise ModelNotLoadedError(f"model {name}: {self._faults.get(name, 'it is being read')}")
        return loaded.model

    def space_of(self, name: str) -> str | None:
        """The space of a model of kind vectors; None: whichever is active."""
        model = self._config.current.config.models.get(name)
        if not isinstance(model, VectorsModel):
            raise ModelNotLoadedError(f"the configuration that holds now has no model {name} of kind vectors")
        return None if model.space == ACTIVE else model.space

    def tower_of(self, space: str) -> Tower | None:
        """What makes a query of a reader's pooled vector in a space; None where that is the vector itself.

        Raises ModelNotLoadedError.
        """
        if space not in self._spaces:
            self._refresh_towers()
        if fault := self._faults.get(_tower(space)):
            raise ModelNotLoadedError(f"the tower of space {space}: {fault}")
        return self._towers.get(space)

    def loaded(self) -> dict[str, str]:
        """The run by the name of each model that was read from one."""
        return {name: loaded.run for name, loaded in self._loaded.items()}

    def refresh_if_due(self) -> int:
        """As `refresh`, after a change of the configuration, and every five seconds."""
        version = self._config.current.version
        if version == self._version and time.monotonic() < self._due:
            return 0
        changed = self.refresh()
        self._version, self._due = version, time.monotonic() + _EVERY_SECONDS
        return changed

    def refresh(self) -> int:
        """Reads what is new; returns how much that was."""
        models = self._config.current.config.models
        wanted = {name: model for name, model in models.items() if isinstance(model, RunModel)}
        changed = self._refresh_towers()
        for name in self._loaded.keys() - wanted.keys():
            del self._loaded[name]
            self._faults.pop(name, None)
        if not wanted:
            return changed
        runs = readable_runs(self._runs_url)
        return changed + sum(self._refresh_model(name, model, runs) for name, model in wanted.items())

    def follow(self) -> int:
        """Adds the interactions of late to the graphs; returns how many edges those were."""
        return sum(loaded.follow() for loaded in list(self._loaded.values()))

    def _refresh_model(self, name: str, model: RunModel, runs: Sequence[Run]) -> int:
        def load() -> object:
            run = _newest(model, runs)
            if name in self._loaded and self._loaded[name].run == run.manifest.space:
                return self._loaded[name]
            opened = open_run(run_url(self._runs_url, run.manifest.space))
            made = LOADERS[type(model)](opened)
            follows = follow(self._engine, made) if isinstance(model, GraphModel) else _nothing_to_add
            return Loaded(run.manifest.space, made, follows)

        loaded = self._tried(name, load)
        if not isinstance(loaded, Loaded) or loaded is self._loaded.get(name):
            return 0
        self._loaded[name] = loaded
        logger.info("model loaded", model=name, run=loaded.run)
        return 1

    def _refresh_towers(self) -> int:
        with self._looking:
            return self._look_for_towers()

    def _look_for_towers(self) -> int:
        with read_connection(self._engine) as connection:
            rows = connection.execute(select(spaces.c.space, spaces.c.manifest, spaces.c.run_url)).all()
        manifests = {row.space: Manifest.model_validate_json(row.manifest) for row in rows}
        towers = {row.space: row.run_url for row in rows if manifests[row.space].tower}
        for space in self._towers.keys() - towers.keys():
            del self._towers[space]
        changed = 0
        for space in towers.keys() - self._towers.keys():
            tower = self._tried(_tower(space), partial(_open_tower, towers[space]))
            if isinstance(tower, Tower):
                self._towers[space] = tower
                changed += 1
        self._spaces = frozenset(manifests)
        return changed

    def _tried(self, name: str, load: Callable[[], Any]) -> object | None:
        """What `load` returns; None, with the fault told and kept, where it fails or has failed just now."""
        if time.monotonic() < self._again_at.get(name, 0.0):
            return None
        try:
            loaded: object = load()
        except Exception as error:
            fault = public_message(error, "its files cannot be read")
            if self._faults.get(name) != fault:
                logger.error("model not loaded", model=name, error=str(error))
            self._faults[name] = fault
            self._again_at[name] = time.monotonic() + _AGAIN_SECONDS
            return None
        self._faults.pop(name, None)
        return loaded


def _newest(model: RunModel, runs: Sequence[Run]) -> Run:
    """Raises NotFoundError."""
    kind: RunKind = model.model_dump()["kind"]
    if model.latest:
        run = latest_run(runs, model.latest, kind)
    else:
        run = next((run for run in runs if run.manifest.space == model.run), None)
    if run is None:
        what = f"run {model.run}" if model.run else f"run of {model.latest} and kind {kind}; train one"
        raise NotFoundError(f"there is no {what}")
    return run


def _nothing_to_add() -> int:
    return 0


def _open_tower(url: str) -> Tower:
    return load_tower(open_run(url))


def _tower(space: str) -> str:
    return f"tower of {space}"
