"""What the steps of a pipeline work with, and what a step is."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from nearfeed_contracts.errors import ConflictError
from nearfeed_runtime.operations import Runner, Step
from nearfeed_runtime.settings import Settings
from nearfeed_standalone.pipeline.fingerprints import Json

Outputs = Mapping[str, Json]
Work = Generator[Step, None, Json]


class StepError(ConflictError):
    """A step that cannot be done, or whose outcome is a refusal; the text says why."""


@dataclass(frozen=True)
class Context:
    """`run` carries out operations by name; `train` writes a run by the options of `nearfeed train`."""

    settings: Settings
    engine: Engine
    run: Runner
    train: Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class FlowStep:
    """A step by three functions; all are given the step's section and what the steps before it put out.

    `inputs` is all that the outcome depends on. `work` does it and returns what later steps need; done
    twice, it leads to the same. `stands` says whether the effect of a former success is still there.
    """

    inputs: Callable[[Context, Any, Outputs], Json]
    work: Callable[[Context, Any, Outputs], Work]
    stands: Callable[[Context, Json], bool] = lambda _context, _output: True
