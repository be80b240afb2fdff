"""Changes of experiments: each is one transaction, noted in the audit, and a new revision that others see."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import experiments
from nearfeed_recommender.config.checks import parse_config
from nearfeed_recommender.config.editor import ConfigStore
from nearfeed_recommender.config.versions import Statement, newest_version
from nearfeed_recommender.experiments.live import LiveExperiments, resized, size_of
from nearfeed_recommender.experiments.records import (
    Experiment,
    experiment_of,
    list_experiments,
    newest_revision,
    values_of,
)
from nearfeed_recommender.experiments.schema import Design, Traffic, first_shares
from nearfeed_recommender.experiments.validation import require_fitting
from nearfeed_runtime.auditing import put_audit
from nearfeed_runtime.sql import committed

_ATTEMPTS = 5
Work = Callable[[Connection, int], Experiment]
Change = Callable[[Connection, Experiment, int], Experiment]


@dataclass(frozen=True)
class ExperimentStore:
    """Where experiments are kept, with the configuration that their arms refer to.

    The audit names `actor`, or else the author of a change.
    """

    engine: Engine
    live: LiveExperiments
    configuration: ConfigStore
    actor: str | None = None


def put_draft(store: ExperimentStore, design: Design, statement: Statement) -> Experiment:
    """Makes an experiment, or changes one that has not been started. Raises ConflictError."""

    def work(transaction: Connection, now: int) -> Experiment:
        row = transaction.execute(
            select(experiments.c.name).where(experiments.c.name == design.name)
        ).one_or_none()
        if row is None:
            return _insert(store, transaction, design, statement, now)
        present = experiment_of(transaction, design.name)
        _require(present, "draft", "its design stands; make another experiment, under another name")
        wanted = replace(present, design=design)
        return _update(store, transaction, present, wanted, statement, "change", {})

    return _done(store, work)


def start(store: ExperimentStore, name: str, statement: Statement) -> Experiment:
    """Serves a draft. Raises ConflictError, also where its layer is full or another one holds its target.

    Raises ConfigError where its arms name what the configuration no longer has.
    """

    def change(transaction: Connection, present: Experiment, now: int) -> Experiment:
        if present.started_at == now:
            return present
        _require(present, "draft", "a draft alone can be started")
        require_fitting(present.design, parse_config(newest_version(transaction).document))
        others = list_experiments(transaction, "running")
        _require_one_layer(present, others)
        buckets = resized((), _taken(present, others), size_of(present.design.traffic))
        traffic = Traffic(buckets=buckets, shares=first_shares(present.design))
        return replace(present, state="running", started_at=now, traffic=traffic)

    return _changed(store, name, change, statement, "start")


def ramp(store: ExperimentStore, name: str, share: float, statement: Statement) -> Experiment:
    """Gives a running experiment another share of its layer: who is in stays in while it grows.

    Raises ConflictError.
    """

    def change(transaction: Connection, present: Experiment, _: int) -> Experiment:
        _require(present, "running", "a running experiment alone can be ramped")
        taken = _taken(present, list_experiments(transaction, "running"))
        buckets = resized(present.traffic.buckets, taken, size_of(share))
        return _with_traffic(present, buckets=buckets)

    return _changed(store, name, change, statement, "ramp", {"traffic": share})


def stop(store: ExperimentStore, name: str, statement: Statement, adopted: str | None = None) -> Experiment:
    """Ends a running experiment, or gives a draft up; `adopted` is the arm that was chosen.

    Raises ConflictError.
    """

    def change(_: Connection, present: Experiment, now: int) -> Experiment:
        if present.stopped_at == now:
            return present
        if present.state == "stopped":
            raise ConflictError(f"Experiment {name!r} has been stopped: {present.stop_reason}.")
        _require_arm(present, adopted)
        ended = replace(present, state="stopped", stopped_at=now, stop_reason=statement.reason)
        return _with_traffic(ended, adopted=adopted)

    detail = {"adopted": adopted} if adopted else {}
    return _changed(store, name, change, statement, "stop", detail)


def stop_arm(store: ExperimentStore, name: str, arm: str, statement: Statement) -> Experiment:
    """Assigns an arm no longer; its readers get what the configuration says. Raises ConflictError.

    The experiment ends with the last arm beside the control.
    """

    def change(_: Connection, present: Experiment, now: int) -> Experiment:
        if arm in present.traffic.stopped:
            return present
        _require(present, "running", "an arm of a running experiment alone can be stopped")
        _require_arm(present, arm)
        if arm == present.design.control:
            raise ConflictError(f"Arm {arm!r} is the control of experiment {name!r}; stop the experiment.")
        reasons = {**present.traffic.stopped, arm: statement.reason}
        times = {**present.traffic.stopped_at, arm: now}
        without = _with_traffic(present, stopped=reasons, stopped_at=times)
        if len(without.live_arms) > 1:
            return without
        return replace(without, state="stopped", stopped_at=now, stop_reason=statement.reason)

    return _changed(store, name, change, statement, "stop-arm", {"arm": arm})


def set_learned(
    store: ExperimentStore, name: str, shares: dict[str, float], learned: dict[str, Any]
) -> Experiment:
    """Keeps what a bandit has learned; nobody's decision, so the audit does not tell of it."""

    def change(_: Connection, present: Experiment, __: int) -> Experiment:
        if present.state != "running":
            return present
        return _with_traffic(present, shares=shares, learned=learned)

    return _changed(store, name, change, None, "learn")


def _changed(
    store: ExperimentStore,
    name: str,
    change: Change,
    statement: Statement | None,
    action: str,
    detail: dict[str, Any] | None = None,
) -> Experiment:
    def work(transaction: Connection, now: int) -> Experiment:
        present = experiment_of(transaction, name)
        wanted = change(transaction, present, now)
        return _update(store, transaction, present, wanted, statement, action, detail or {})

    return _done(store, work)


def _done(store: ExperimentStore, work: Work) -> Experiment:
    """Works until nobody else has taken the revision or the number meanwhile. Raises ConflictError."""
    now = now_micros()
    for _ in range(_ATTEMPTS):
        try:
            experiment = committed(store.engine, lambda transaction: work(transaction, now))
        except IntegrityError:
            continue
        store.live.refresh()
        return experiment
    raise ConflictError("Others are changing experiments at this moment; try again.")


def _insert(
    store: ExperimentStore, transaction: Connection, design: Design, statement: Statement, now: int
) -> Experiment:
    number = (transaction.scalar(select(func.max(experiments.c.number))) or 0) + 1
    made = Experiment(
        design.name, number, newest_revision(transaction) + 1, "draft", design, Traffic(), created_at=now
    )
    transaction.execute(insert(experiments).values(**values_of(made)))
    _audit(store, transaction, made, statement, "draft", {})
    return made


def _update(
    store: ExperimentStore,
    transaction: Connection,
    present: Experiment,
    wanted: Experiment,
    statement: Statement | None,
    action: str,
    detail: dict[str, Any],
) -> Experiment:
    if wanted == present:
        return present
    wanted = replace(wanted, revision=newest_revision(transaction) + 1)
    transaction.execute(
        update(experiments).where(experiments.c.name == wanted.name).values(**values_of(wanted))
    )
    if statement is not None:
        _audit(store, transaction, wanted, statement, action, detail)
    return wanted


def _audit(
    store: ExperimentStore,
    transaction: Connection,
    found: Experiment,
    statement: Statement,
    action: str,
    detail: dict[str, Any],
) -> None:
    told = {**statement.model_dump(), **detail, "revision": found.revision}
    actor = store.actor or statement.author
    put_audit(transaction, actor, f"experiments.{action}", found.name, told)


def _with_traffic(experiment: Experiment, **changes: Any) -> Experiment:
    return replace(experiment, traffic=experiment.traffic.model_copy(update=changes))


def _require(experiment: Experiment, state: str, otherwise: str) -> None:
    if experiment.state != state:
        is_now = {"draft": "a draft", "running": "running", "stopped": "stopped"}[experiment.state]
        raise ConflictError(f"Experiment {experiment.name!r} is {is_now}: {otherwise}.")


def _require_arm(experiment: Experiment, arm: str | None) -> None:
    if arm is not None and arm not in experiment.design.arms:
        known = ", ".join(experiment.design.arms)
        raise ConflictError(f"Experiment {experiment.name!r} has no arm {arm!r}; arms: {known}.")


def _require_one_layer(wanted: Experiment, others: list[Experiment]) -> None:
    for other in others:
        if other.design.place == wanted.design.place and other.design.layer_name != wanted.design.layer_name:
            raise ConflictError(
                f"Experiment {other.name!r} runs at {wanted.design.place} in layer "
                f"{other.design.layer_name!r}: give this one the same layer, or stop that one."
            )


def _taken(wanted: Experiment, others: list[Experiment]) -> list[tuple[tuple[int, int], ...]]:
    """The buckets of its layer that others have."""
    layer = wanted.design.layer_name
    return [
        other.traffic.buckets
        for other in others
        if other.design.layer_name == layer and other.name != wanted.name
    ]
