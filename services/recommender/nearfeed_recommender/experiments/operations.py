"""What an operator may ask of experiments, as steps."""

from collections.abc import Iterator
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nearfeed_contracts.fields import now_micros
from nearfeed_recommender.config.document import yaml_document, yaml_of
from nearfeed_recommender.config.faults import ConfigError, Fault, path_of
from nearfeed_recommender.config.operations import statement_of
from nearfeed_recommender.config.shape import shape_faults
from nearfeed_recommender.experiments import lifecycle as changing
from nearfeed_recommender.experiments.lifecycle import ExperimentStore
from nearfeed_recommender.experiments.off_policy import Policy, evaluate
from nearfeed_recommender.experiments.power import Plan, size_of_plan
from nearfeed_recommender.experiments.records import Experiment, experiment_of, list_experiments
from nearfeed_recommender.experiments.report_text import results_report, size_report, value_report
from nearfeed_recommender.experiments.schema import BUCKETS
from nearfeed_recommender.experiments.snapshots import current_results
from nearfeed_recommender.experiments.validation import check_design
from nearfeed_runtime.operations import Listed, Operation, Said, Step, format_time
from nearfeed_runtime.sql import read_connection

Form = TypeVar("Form", bound=BaseModel)
_LIST = ("name", "state", "target", "layer", "traffic", "arms", "started (UTC)", "reason of the end")
_ARMS = ("arm", "provider", "chance", "stopped")


def experiment_operations(store: ExperimentStore) -> dict[str, Operation]:
    """The operations by their names in the table of a process."""
    return {
        "experiments.list": partial(list_all, store),
        "experiments.show": partial(show_one, store),
        "experiments.apply": partial(apply, store),
        "experiments.start": partial(start, store),
        "experiments.ramp": partial(ramp, store),
        "experiments.stop": partial(stop, store),
        "experiments.results": partial(results, store),
        "experiments.size": partial(size, store),
        "experiments.evaluate": partial(value, store),
    }


def list_all(store: ExperimentStore) -> Iterator[Step]:
    """A table of the experiments, newest first."""
    with read_connection(store.engine) as connection:
        found = list_experiments(connection)
    yield Listed(_LIST, tuple(map(_row, found)))


def show_one(store: ExperimentStore, name: str) -> Iterator[Step]:
    """An experiment's design as YAML, and its arms as they are assigned."""
    with read_connection(store.engine) as connection:
        found = experiment_of(connection, name)
    yield Said(yaml_of(found.design.model_dump(mode="json", exclude_unset=True)).rstrip("\n"))
    yield from _report(found)


def apply(store: ExperimentStore, text: str, author: str, reason: str, name: str = "") -> Iterator[Step]:
    """Makes or changes a draft by a YAML text. Raises ConfigError with its faults, and ConflictError."""
    design = check_design(yaml_document(text, name), store.configuration.live.current.config)
    yield from _report(changing.put_draft(store, design, statement_of(author, reason)))


def start(store: ExperimentStore, name: str, author: str, reason: str) -> Iterator[Step]:
    """Serves a draft."""
    yield from _report(changing.start(store, name, statement_of(author, reason)))


def ramp(store: ExperimentStore, name: str, traffic: float, author: str, reason: str) -> Iterator[Step]:
    """Gives an experiment another share of its layer."""
    yield from _report(changing.ramp(store, name, traffic, statement_of(author, reason)))


def stop(
    store: ExperimentStore,
    name: str,
    author: str,
    reason: str,
    arm: str | None = None,
    adopted: str | None = None,
) -> Iterator[Step]:
    """Ends an experiment, or one of its arms."""
    statement = statement_of(author, reason)
    if arm is not None:
        yield from _report(changing.stop_arm(store, name, arm, statement))
    else:
        yield from _report(changing.stop(store, name, statement, adopted))


def results(store: ExperimentStore, name: str) -> Iterator[Step]:
    """What came of an experiment."""
    with read_connection(store.engine) as connection:
        found = current_results(connection, experiment_of(connection, name), now_micros())
    yield from results_report(found)


def size(store: ExperimentStore, **plan: Any) -> Iterator[Step]:
    """How many readers and days an experiment needs; `plan` has the fields of Plan."""
    wanted = _read(Plan, plan)
    with read_connection(store.engine) as connection:
        found = size_of_plan(connection, wanted, now_micros())
    yield from size_report(wanted, found)


def value(store: ExperimentStore, **policy: Any) -> Iterator[Step]:
    """What a policy would have earned; `policy` has the fields of Policy."""
    wanted = _read(Policy, policy)
    with read_connection(store.engine) as connection:
        found = evaluate(connection, store.configuration.live.current.config, wanted, now_micros())
    yield from value_report(found)


def _read(form: type[Form], body: dict[str, Any]) -> Form:
    """Raises ConfigError with the faults of what was given."""
    try:
        return form.model_validate(body)
    except ValidationError as error:
        found = shape_faults(error.errors(include_url=False), form)
        raise ConfigError([Fault(path_of(loc), text) for loc, text in found]) from None


def _row(found: Experiment) -> tuple[str, ...]:
    design = found.design
    started = format_time(found.started_at)
    size = f"{found.traffic.size / BUCKETS:.1%}" if found.state == "running" else ""
    return (
        found.name,
        found.state,
        str(design.place),
        design.layer_name,
        size,
        ", ".join(design.arms),
        started,
        found.stop_reason or "",
    )


def _report(found: Experiment) -> Iterator[Step]:
    traffic = found.traffic
    rows = tuple(
        (
            arm,
            provider or "(as configured)",
            f"{traffic.shares[arm]:.1%}" if arm in traffic.shares else "",
            traffic.stopped.get(arm, ""),
        )
        for arm, provider in found.design.arms.items()
    )
    yield Listed(_ARMS, rows)
    yield Said(_sentence(found))


def _sentence(found: Experiment) -> str:
    place, layer = found.design.place, found.design.layer_name
    if found.state == "draft":
        return f"Experiment {found.name} is a draft. To serve it: experiments start {found.name}."
    if found.state == "running":
        size = f"{found.traffic.size / BUCKETS:.1%}"
        return f"Experiment {found.name} runs at {place} with {size} of layer {layer}."
    told = f"Experiment {found.name} was stopped: {found.stop_reason}."
    provider = found.design.arms.get(found.traffic.adopted or "")
    if provider is None:
        return told
    return (
        f"{told} To serve its arm {found.traffic.adopted} to all, name {provider} at {place} (config apply)."
    )
