"""Which steps of a pipeline are done, skipped and tried again: steps that only note that they were done."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from nearfeed_backends.opening import open_database
from nearfeed_contracts.errors import NotFoundError
from nearfeed_runtime.operations import Listed, Said, Step
from nearfeed_runtime.settings import Settings
from nearfeed_standalone.pipeline import state
from nearfeed_standalone.pipeline.context import Context, FlowStep, StepError, Work
from nearfeed_standalone.pipeline.definition import STEPS, TAKES_FROM, Pipeline
from nearfeed_standalone.pipeline.executing import Execution, new_run_id, run_one_step, run_pipeline
from nearfeed_standalone.pipeline.listing import list_runs, show_run
from nearfeed_standalone.pipeline.owning import PipelineRunningError, sole_pipeline
from servers import fresh_database

numbers = count()


@dataclass
class World:
    """What the inputs of each step are, which of them fail, and whose effect somebody has undone."""

    inputs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STEPS, 0))
    failing: set[str] = field(default_factory=set)
    undone: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)

    def flow(self) -> dict[str, FlowStep]:
        return {step: self._step(step) for step in STEPS}

    def _step(self, step: str) -> FlowStep:
        def inputs(_context: Context, _section: Any, outputs: Mapping[str, Any]) -> dict[str, Any]:
            return {"own": self.inputs[step], "before": outputs.get(TAKES_FROM.get(step, ""))}

        def work(_context: Context, _section: Any, _outputs: Mapping[str, Any]) -> Work:
            yield Said(step)
            if step in self.failing:
                raise StepError(f"{step} has failed.")
            self.done.append(step)
            self.undone.discard(step)
            return {"made": f"{step} {self.inputs[step]}"}

        return FlowStep(inputs, work, lambda _context, _output: step not in self.undone)


def whole_pipeline(name: str) -> Pipeline:
    rule = {"evaluate": {"models": ["als"]}, "gate": {"may_lie_below": {"als": 0}}}
    return Pipeline.model_validate(
        {"name": name, "import": [], "train": {}, **rule, "load": {}, "activate": {}}
    )


@pytest.fixture(scope="module", params=["sqlite", pytest.param("mariadb", marks=pytest.mark.server)])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    sqlite = nullcontext(f"sqlite:///{tmp_path_factory.mktemp('pipeline')}/nearfeed.db")
    with sqlite if request.param == "sqlite" else fresh_database() as url:
        engine = open_database(url)
        yield engine
        engine.dispose()


@pytest.fixture
def pipeline() -> Pipeline:
    """One that no other test has run."""
    return whole_pipeline(f"p{next(numbers)}")


def execution(engine: Engine, pipeline: Pipeline, world: World, **changed: Any) -> Execution:
    context = Context(Settings(), engine, lambda _name, _arguments: iter(()), lambda _options: None)
    given = {
        "run_id": new_run_id(pipeline),
        "flow": world.flow(),
        "tell": lambda steps: list(steps),
    } | changed
    return Execution(context, pipeline, **given)


def run(engine: Engine, pipeline: Pipeline, world: World, **changed: Any) -> tuple[list[str], str]:
    """Which steps were done, and the id of the run."""
    world.done.clear()
    whole = execution(engine, pipeline, world, **changed)
    with suppress(StepError):
        run_pipeline(whole)
    return list(world.done), whole.run_id


def states(engine: Engine, run_id: str) -> list[str]:
    return [row.state for row in state.steps_of(engine, run_id)]


def state_of(engine: Engine, run_id: str) -> str:
    return next(row.state for row in state.all_runs(engine) if row.run_id == run_id)


def test_a_second_run_skips_all(engine: Engine, pipeline: Pipeline) -> None:
    world = World()
    done, run_id = run(engine, pipeline, world)
    assert (done, states(engine, run_id)) == (list(STEPS), ["done"] * 6)
    done, run_id = run(engine, pipeline, world)
    assert (done, states(engine, run_id)) == ([], ["skipped"] * 6)
    assert state_of(engine, run_id) == "done"


def test_a_changed_input_is_followed_as_far_as_it_leads(engine: Engine, pipeline: Pipeline) -> None:
    world = World()
    run(engine, pipeline, world)
    world.inputs["evaluate"] = 1
    done, run_id = run(engine, pipeline, world)
    assert done == ["evaluate", "gate"]
    assert states(engine, run_id) == ["skipped", "skipped", "done", "done", "skipped", "skipped"]


def test_after_a_failure_the_next_run_goes_on_there(engine: Engine, pipeline: Pipeline) -> None:
    world = World(failing={"gate"})
    done, run_id = run(engine, pipeline, world)
    assert done == ["import", "train", "evaluate"]
    assert states(engine, run_id) == ["done", "done", "done", "failed", "waiting", "waiting"]
    assert state_of(engine, run_id) == "failed"
    assert [row.error for row in state.steps_of(engine, run_id)][3] == "gate has failed."
    assert run(engine, pipeline, world)[0] == []
    world.failing.clear()
    assert run(engine, pipeline, world)[0] == ["gate", "load", "activate"]


def test_an_effect_that_was_undone_is_made_again(engine: Engine, pipeline: Pipeline) -> None:
    world = World()
    run(engine, pipeline, world)
    world.undone = {"activate"}
    assert run(engine, pipeline, world)[0] == ["activate"]


def test_what_was_asked_for_is_done_anyway(engine: Engine, pipeline: Pipeline) -> None:
    world = World()
    run(engine, pipeline, world)
    assert run(engine, pipeline, world, anew=["gate", "load", "activate"])[0] == ["gate", "load", "activate"]


def test_pipelines_of_other_names_have_successes_of_their_own(engine: Engine, pipeline: Pipeline) -> None:
    world = World()
    run(engine, pipeline, world)
    assert run(engine, whole_pipeline(f"{pipeline.name}-other"), world)[0] == list(STEPS)


changes = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(STEPS), st.integers(0, 2)),
        st.sets(st.sampled_from(STEPS), max_size=2),
        st.sets(st.sampled_from(STEPS), max_size=2),
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=15)
@given(changes)
def test_what_is_done_is_what_has_changed(
    engine: Engine, story: list[tuple[dict[str, int], set[str], set[str]]]
) -> None:
    """Against an oracle that knows, for each step, what it and the one before it were last made of."""
    pipeline, world, made = whole_pipeline(f"p{next(numbers)}"), World(), {}
    for inputs, failing, undone in story:
        world.inputs |= inputs
        world.failing, world.undone = set(failing), world.undone | undone
        expected, current = [], {}
        for step in STEPS:
            of = (world.inputs[step], current.get(TAKES_FROM.get(step)))
            if step in world.undone or made.get(step, (None, None))[0] != of:
                if step in failing:
                    break
                expected.append(step)
                made[step] = (of, world.inputs[step])
            current[step] = made[step][1]
        assert run(engine, pipeline, world)[0] == expected


def test_two_at_once_are_refused(engine: Engine, pipeline: Pipeline) -> None:
    world = World()
    with sole_pipeline(engine), pytest.raises(PipelineRunningError, match="wait until it has ended"):
        run(engine, pipeline, world)
    assert world.done == []
    assert run(engine, pipeline, world)[0] == list(STEPS)


def test_steps_one_by_one_are_a_run(engine: Engine, pipeline: Pipeline) -> None:
    world = World(failing={"evaluate"})
    by_step = execution(engine, pipeline, world, run_id=f"scheduled__{pipeline.name}T03:17:00+00:00")
    for step in ("import", "train"):
        run_one_step(by_step, step)
    assert state_of(engine, by_step.run_id) == "waiting"
    with pytest.raises(StepError, match="evaluate has failed"):
        run_one_step(by_step, "evaluate")
    assert state_of(engine, by_step.run_id) == "failed"
    with pytest.raises(StepError, match="for step evaluate has not passed in it"):
        run_one_step(by_step, "gate")
    world.failing.clear()
    for step in STEPS[2:]:
        run_one_step(by_step, step)
    assert world.done == list(STEPS)
    assert state_of(engine, by_step.run_id) == "done"
    assert [row.attempts for row in state.steps_of(engine, by_step.run_id)] == [1, 1, 2, 1, 1, 1]
    assert run(engine, pipeline, world)[0] == []


def test_an_unexpected_error_is_kept_too(engine: Engine, pipeline: Pipeline) -> None:
    def stumble(*_: Any) -> Work:
        yield Said("load")
        raise KeyboardInterrupt

    flow = World().flow() | {"load": FlowStep(lambda *_: {}, stumble)}
    whole = execution(engine, pipeline, World(), flow=flow)
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(whole)
    assert states(engine, whole.run_id)[4:] == ["failed", "waiting"]
    assert "KeyboardInterrupt" in state.steps_of(engine, whole.run_id)[4].error


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from test_pipeline_executing import *

def die(*_):
    yield Said("train")
    os.kill(os.getpid(), signal.SIGKILL)

engine = open_database(sys.argv[1])
world = World()
flow = world.flow()
flow["train"] = FlowStep(flow["train"].inputs, die)
run_pipeline(execution(engine, whole_pipeline("killed"), world, flow=flow))
"""


def test_a_run_that_was_killed(engine: Engine) -> None:
    tests = Path(__file__).parent
    url = engine.url.render_as_string(hide_password=False)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, url, str(tests)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests.parents[1])])},
        check=False,
        timeout=60,
    )
    assert killed.returncode == -9
    (listed,) = list_runs(engine)
    assert isinstance(listed, Listed)
    ((run_id, *told),) = [row for row in listed.rows if row[1] == "killed"]
    assert told[:3] == ["killed", "broken off", "1 of 6"]
    (shown,) = show_run(engine, run_id)
    assert isinstance(shown, Listed)
    assert [row[1] for row in shown.rows] == ["done", "broken off"] + ["waiting"] * 4
    assert run(engine, whole_pipeline("killed"), World())[0] == list(STEPS[1:])
    assert state_of(engine, run_id) == "broken off"


def test_what_is_not_there(engine: Engine) -> None:
    with pytest.raises(NotFoundError, match="There is no run 'x'"):
        list(show_run(engine, "x"))


def test_before_the_first_run(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/nearfeed.db")
    told: Callable[[Step], str] = str
    assert "No pipeline has run yet" in told(next(list_runs(engine)))
    engine.dispose()
