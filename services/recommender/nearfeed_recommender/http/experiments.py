"""Experiments over HTTP: designed, started, ramped, stopped."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel

from nearfeed_contracts.fields import Id, from_micros, now_micros
from nearfeed_recommender.experiments import lifecycle as store
from nearfeed_recommender.experiments.lifecycle import ExperimentStore
from nearfeed_recommender.experiments.off_policy import Evaluation, Policy, evaluate
from nearfeed_recommender.experiments.power import Plan, Size, size_of_plan
from nearfeed_recommender.experiments.records import Experiment, State, experiment_of, list_experiments
from nearfeed_recommender.experiments.report_schema import PointOut, Results
from nearfeed_recommender.experiments.schema import BUCKETS, Metric, Name, Share
from nearfeed_recommender.experiments.snapshots import course_of, latest_results
from nearfeed_recommender.experiments.validation import check_design, named
from nearfeed_recommender.http.access import Actor, Context, require
from nearfeed_recommender.http.config_documents import DOCUMENT_BODY, Given, Stated
from nearfeed_runtime.sql import read_connection

router = APIRouter(
    prefix="/v1/admin/experiments", tags=["experiments"], dependencies=[Depends(require("admin"))]
)


def _changing(context: Context, actor: Actor) -> ExperimentStore:
    """The store, for a change that the audit puts down to the caller."""
    return replace(context.experiments, actor=actor)


Changing = Annotated[ExperimentStore, Depends(_changing)]
NamePath = Annotated[Name, Path(description="the experiment")]


class ArmOut(BaseModel):
    """An arm with its chance; `provider` is null for what the configuration says.

    `stopped` is the reason why it is no longer assigned.
    """

    name: str
    provider: str | None
    control: bool
    share: float | None
    stopped: str | None


class ExperimentOut(BaseModel):
    """An experiment as it stands; `traffic` is the share of its layer that it has now."""

    name: str
    number: int
    revision: int
    state: State
    target: str
    layer: str
    traffic: float
    arms: list[ArmOut]
    adopted: str | None
    created_at: datetime
    started_at: datetime | None
    stopped_at: datetime | None
    stop_reason: str | None
    design: dict[str, Any]


class ExperimentsOut(BaseModel):
    """Experiments, newest first."""

    experiments: list[ExperimentOut]


class CourseOut(BaseModel):
    """An experiment's metric by arm over time, oldest first."""

    metric: Metric
    points: list[PointOut]


@router.get("", summary="All experiments")
def get_experiments(context: Context, state: State | None = None) -> ExperimentsOut:
    with read_connection(context.engine) as connection:
        found = list_experiments(connection, state)
    return ExperimentsOut(experiments=[experiment_out(experiment) for experiment in found])


@router.get("/{name}", summary="An experiment")
def get_experiment(context: Context, name: NamePath) -> ExperimentOut:
    with read_connection(context.engine) as connection:
        return experiment_out(experiment_of(connection, name))


@router.get("/{name}/results", summary="Results of an experiment")
def get_results(context: Context, name: NamePath) -> Results:
    """All intervals hold at all looks together. Of one that was stopped they are those of its end.

    They may be as old as a sixtieth of the experiment's age, an hour at most, and older only where it takes
    long to gather them: `until` tells.
    """
    with read_connection(context.engine) as connection:
        return latest_results(connection, experiment_of(connection, name), now_micros())


@router.get("/{name}/course", summary="A metric of an experiment over time")
def get_course(context: Context, name: NamePath) -> CourseOut:
    """Kept hour by hour, and more often while an experiment is young."""
    with read_connection(context.engine) as connection:
        found = experiment_of(connection, name)
        return CourseOut(metric=found.design.metric, points=course_of(connection, name))


@router.post("/size", summary="Sample size of an experiment")
def post_size(context: Context, plan: Plan) -> Size:
    """From what the ledger has of the place where it is to run."""
    with read_connection(context.engine) as connection:
        return size_of_plan(connection, plan, now_micros())


@router.post("/evaluate", summary="Off-policy evaluation of a provider or policy")
def post_evaluate(context: Context, policy: Policy) -> Evaluation:
    """Weighs requests of an experiment in which every provider of the policy was an arm."""
    config = context.configuration.live.current.config
    with read_connection(context.engine) as connection:
        return evaluate(connection, config, policy, now_micros())


@router.put("/{name}", summary="Create or change a draft", openapi_extra=DOCUMENT_BODY)
def put_experiment(changing: Changing, name: NamePath, document: Given, statement: Stated) -> ExperimentOut:
    """The body is the design, in JSON, or in YAML with `content-type: application/yaml`."""
    config = changing.configuration.live.current.config
    design = check_design(named(document, name), config)
    return experiment_out(store.put_draft(changing, design, statement))


@router.post("/{name}/start", summary="Start a draft")
def start(changing: Changing, name: NamePath, statement: Stated) -> ExperimentOut:
    """Its arms are served in every process within two seconds."""
    return experiment_out(store.start(changing, name, statement))


@router.post("/{name}/ramp", summary="Change the traffic of an experiment")
def ramp(
    changing: Changing,
    name: NamePath,
    traffic: Annotated[Share, Query(description="its share of the layer")],
    statement: Stated,
) -> ExperimentOut:
    """Who is in stays in while it grows, and keeps their arm."""
    return experiment_out(store.ramp(changing, name, traffic, statement))


@router.post("/{name}/stop", summary="End an experiment")
def stop(
    changing: Changing,
    name: NamePath,
    statement: Stated,
    adopted: Annotated[Id | None, Query(description="the arm that was chosen")] = None,
) -> ExperimentOut:
    """The reason stays with it. All readers get what the configuration says."""
    return experiment_out(store.stop(changing, name, statement, adopted))


@router.post("/{name}/arms/{arm:path}/stop", summary="Stop an arm")
def stop_arm(
    changing: Changing, name: NamePath, arm: Annotated[Id, Path(description="the arm")], statement: Stated
) -> ExperimentOut:
    """Its readers get what the configuration says. With the last arm beside the control all ends."""
    return experiment_out(store.stop_arm(changing, name, arm, statement))


def experiment_out(found: Experiment) -> ExperimentOut:
    """An experiment as it is answered."""
    design, traffic = found.design, found.traffic
    arms = [
        ArmOut(
            name=arm,
            provider=provider,
            control=arm == design.control,
            share=traffic.shares.get(arm),
            stopped=traffic.stopped.get(arm),
        )
        for arm, provider in design.arms.items()
    ]
    return ExperimentOut(
        name=found.name,
        number=found.number,
        revision=found.revision,
        state=found.state,
        target=str(design.place),
        layer=design.layer_name,
        traffic=traffic.size / BUCKETS,
        arms=arms,
        adopted=traffic.adopted,
        created_at=from_micros(found.created_at),
        started_at=_moment(found.started_at),
        stopped_at=_moment(found.stopped_at),
        stop_reason=found.stop_reason,
        design=design.model_dump(mode="json", exclude_unset=True),
    )


def _moment(micros: int | None) -> datetime | None:
    return from_micros(micros) if micros is not None else None
