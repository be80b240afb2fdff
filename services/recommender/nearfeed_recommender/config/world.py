"""What a document says of the world: the runs and spaces that its models name must be there."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import structlog
from sqlalchemy import Engine, select

from nearfeed_contracts.errors import NearfeedError, NotFoundError
from nearfeed_contracts.runs import Run, RunKind, list_runs, open_run, run_url
from nearfeed_contracts.tables import spaces
from nearfeed_recommender.config.faults import Found
from nearfeed_recommender.config.schema import ACTIVE, Config, RunModel, VectorsModel
from nearfeed_runtime.sql import read_connection

logger = structlog.get_logger(__name__)
_READY = "ready"


def latest_run(runs: Sequence[Run], trainer: str, kind: RunKind) -> Run | None:
    """The newest run of a kind that a trainer has written, of `runs` that are oldest first."""
    found = (run for run in reversed(runs) if run.manifest.model == trainer and run.manifest.kind == kind)
    return next(found, None)


def readable_runs(runs_url: str) -> list[Run]:
    """The runs of a store, oldest first, but for those that are broken or being written."""
    return list_runs(runs_url, on_broken=_warn_broken)


def _warn_broken(url: str, error: NearfeedError) -> None:
    logger.warning("run cannot be read", run=url, error=str(error))


class World:
    """The runs and spaces that there are, each looked up at most once."""

    def __init__(self, engine: Engine, runs_url: str) -> None:
        self._engine = engine
        self._runs_url = runs_url

    def faults(self, config: Config) -> Iterator[Found]:
        """Models that name what is not there. Raises BrokenRunError for a run that cannot be read."""
        for name, model in config.models.items():
            loc = ("models", name)
            if isinstance(model, VectorsModel):
                fault = self._space_fault(model.space)
                yield from [((*loc, "space"), fault)] if fault else []
            elif model.run is not None:
                fault = self._run_fault(model.run, model.kind)
                yield from [((*loc, "run"), fault)] if fault else []
            else:
                fault = self._latest_fault(model, model.kind)
                yield from [((*loc, "latest"), fault)] if fault else []

    @cached_property
    def _runs(self) -> list[Run]:
        return readable_runs(self._runs_url)

    @cached_property
    def _spaces(self) -> dict[str, str]:
        with read_connection(self._engine) as connection:
            return {
                row.space: row.state for row in connection.execute(select(spaces.c.space, spaces.c.state))
            }

    def _space_fault(self, space: str) -> str | None:
        if space == ACTIVE:
            return None
        if space not in self._spaces:
            return f"there is no space {space!r}; load its run, as in: nearfeed load {space}"
        if self._spaces[space] != _READY:
            return (
                f"space {space!r} is still being loaded; wait until `nearfeed spaces list` shows it as ready"
            )
        return None

    def _run_fault(self, run: str, kind: RunKind) -> str | None:
        try:
            found = open_run(run_url(self._runs_url, run), verify=False)
        except NotFoundError:
            return f"there is no run {run!r}; `nearfeed runs` shows those that there are"
        if found.manifest.kind != kind:
            return f"run {run!r} is of kind {found.manifest.kind}, and must be of kind {kind}"
        return None

    def _latest_fault(self, model: RunModel, kind: RunKind) -> str | None:
        if latest_run(self._runs, str(model.latest), kind) is not None:
            return None
        return (
            f"{model.latest} has written no run of kind {kind} yet; make one with: "
            f"nearfeed train --model {model.latest}"
        )
