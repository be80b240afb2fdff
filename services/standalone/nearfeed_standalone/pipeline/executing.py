"""Carries out the steps of a pipeline, and skips those whose inputs are those of their last success."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Engine

from nearfeed_contracts.errors import NearfeedError
from nearfeed_runtime.operations import Said, Step, show
from nearfeed_standalone.pipeline import state
from nearfeed_standalone.pipeline.context import Context, FlowStep, StepError, Work
from nearfeed_standalone.pipeline.definition import Pipeline, format_definition
from nearfeed_standalone.pipeline.fingerprints import Json, digest
from nearfeed_standalone.pipeline.flow import FLOW
from nearfeed_standalone.pipeline.owning import sole_pipeline

Tell = Callable[[Iterator[Step]], None]


@dataclass(frozen=True)
class Execution:
    """A run of a pipeline; `anew` are steps that are done whatever their inputs are."""

    context: Context
    pipeline: Pipeline
    run_id: str
    anew: Collection[str] = ()
    flow: Mapping[str, FlowStep] = field(default_factory=lambda: FLOW)
    tell: Tell = show

    @property
    def engine(self) -> Engine:
        return self.context.engine


def new_run_id(pipeline: Pipeline) -> str:
    """The pipeline's name and the time."""
    return f"{pipeline.name[:96]}-{datetime.now(UTC):%Y%m%d-%H%M%S.%f}"[:-3]


def run_pipeline(execution: Execution) -> None:
    """Carries out all steps. Raises what a step raises, and PipelineRunningError."""
    with sole_pipeline(execution.engine):
        _begin(execution)
        outputs: dict[str, Json] = {}
        with _failure_recorded(execution):
            for step in execution.pipeline.steps:
                outputs[step] = _run_step(execution, step, outputs)
        state.end_run(execution.engine, execution.run_id, state.DONE)


def run_one_step(execution: Execution, step: str) -> None:
    """Carries out one step of a run, all steps before which have passed. Raises as `run_pipeline` does."""
    with sole_pipeline(execution.engine):
        _begin(execution)
        steps = execution.pipeline.steps
        with _failure_recorded(execution):
            outputs = state.outputs_of(execution.engine, execution.run_id)
            for before in steps[: steps.index(step)]:
                if before not in outputs:
                    raise StepError(
                        f"Step {step} cannot be done in run {execution.run_id}, for step {before} has not "
                        "passed in it; do that one first."
                    )
            outputs[step] = _run_step(execution, step, outputs)
        ended = state.DONE if outputs.keys() >= set(steps) else state.WAITING
        state.end_run(execution.engine, execution.run_id, ended)


def _begin(execution: Execution) -> None:
    pipeline = execution.pipeline
    state.break_off(execution.engine)
    state.begin_run(
        execution.engine, execution.run_id, pipeline.name, format_definition(pipeline), pipeline.steps
    )


@contextmanager
def _failure_recorded(execution: Execution) -> Iterator[None]:
    try:
        yield
    except BaseException:
        state.end_run(execution.engine, execution.run_id, state.FAILED)
        raise


def _run_step(execution: Execution, step: str, outputs: Mapping[str, Json]) -> Json:
    engine, run_id = execution.engine, execution.run_id
    place = execution.pipeline.steps.index(step) + 1
    _say(execution, f"{place}/{len(execution.pipeline.steps)} {step}")
    state.begin_step(engine, run_id, step)
    try:
        success, outcome = _do_or_skip(execution, step, outputs)
    except BaseException as error:
        state.fail_step(engine, run_id, step, _text_of(error))
        raise
    state.end_step(engine, run_id, step, outcome, success)
    return success.output


def _do_or_skip(execution: Execution, step: str, outputs: Mapping[str, Json]) -> tuple[state.Success, str]:
    context, section = execution.context, execution.pipeline.section(step)
    kind = execution.flow[step]
    fingerprint = digest(kind.inputs(context, section, outputs))
    former = state.last_success(execution.engine, execution.pipeline.name, step)
    unchanged = former is not None and former.fingerprint == fingerprint and step not in execution.anew
    if former is not None and unchanged and kind.stands(context, former.output):
        _say(execution, "Skipped: its inputs are those of its last success.")
        return former, state.SKIPPED
    output = _with_progress(execution, kind.work(context, section, outputs))
    return state.Success(fingerprint, output), state.DONE


def _with_progress(execution: Execution, work: Work) -> Json:
    """What the work returns, after all its steps were told."""
    outputs = []

    def steps() -> Iterator[Step]:
        outputs.append((yield from work))

    execution.tell(steps())
    return outputs[0]


def _say(execution: Execution, text: str) -> None:
    execution.tell(iter([Said(text)]))


def _text_of(error: BaseException) -> str:
    return str(error) if isinstance(error, NearfeedError) else f"{type(error).__name__}: {error}"
