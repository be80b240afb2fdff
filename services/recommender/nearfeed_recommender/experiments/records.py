"""Experiments in SQL, as they stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, Row, func, select

from nearfeed_contracts.errors import NotFoundError
from nearfeed_contracts.events import HOLDOUT
from nearfeed_contracts.tables import experiments
from nearfeed_recommender.experiments.schema import Design, Traffic

State = Literal["draft", "running", "stopped"]


@dataclass(frozen=True)
class Experiment:
    """`revision` counts the changes of all experiments; times are in microseconds since 1970."""

    name: str
    number: int
    revision: int
    state: State
    design: Design
    traffic: Traffic
    created_at: int
    started_at: int | None = None
    stopped_at: int | None = None
    stop_reason: str | None = None

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms by their indices in request ids; the holdout is the last."""
        return (*self.design.arms, HOLDOUT)

    @property
    def live_arms(self) -> tuple[str, ...]:
        """The arms that are assigned."""
        return tuple(arm for arm in self.design.arms if arm not in self.traffic.stopped)


def experiment_of(connection: Connection, name: str) -> Experiment:
    """Raises NotFoundError that tells which there are."""
    row = connection.execute(select(experiments).where(experiments.c.name == name)).one_or_none()
    if row is None:
        names = connection.scalars(select(experiments.c.name).order_by(experiments.c.name))
        raise NotFoundError(f"There is no experiment {name!r}; experiments: {', '.join(names) or 'none'}.")
    return _experiment(row)


def list_experiments(connection: Connection, state: State | None = None) -> list[Experiment]:
    """All experiments, or those in a state, newest first."""
    query = select(experiments).order_by(experiments.c.number.desc())
    if state is not None:
        query = query.where(experiments.c.state == state)
    return [_experiment(row) for row in connection.execute(query)]


def newest_revision(connection: Connection) -> int:
    return connection.scalar(select(func.max(experiments.c.revision))) or 0


def values_of(experiment: Experiment) -> dict[str, Any]:
    """The columns of an experiment's row."""
    columns = {**vars(experiment)}
    design, traffic = columns.pop("design"), columns.pop("traffic")
    document = design.model_dump(mode="json", exclude_unset=True)
    return {
        **columns,
        "document": orjson.dumps(document).decode(),
        "traffic": orjson.dumps(traffic.model_dump(mode="json")).decode(),
    }


def running_at_once(found: Sequence[Experiment], layer: str) -> list[Experiment]:
    """Those of a layer."""
    return [experiment for experiment in found if experiment.design.layer_name == layer]


def _experiment(row: Row[Any]) -> Experiment:
    columns = row._asdict()
    return Experiment(
        **{name: columns[name] for name in columns if name not in ("document", "traffic")},
        design=Design.model_validate_json(row.document),
        traffic=Traffic.model_validate_json(row.traffic),
    )
