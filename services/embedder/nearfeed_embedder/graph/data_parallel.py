"""Data-parallel training: processes share each batch, and each takes the step of all their gradients.

torchrun starts them. The first does everything as if it were alone, and only tells the others what is to
be trained; they train the same. All draw the same random numbers, of which each uses its own rows', so
together they take the steps of one process, but for the rounding of sums.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.distributed as dist

from nearfeed_contracts.errors import NearfeedError
from nearfeed_embedder.dataset import Readings
from nearfeed_embedder.graph import train as one_process
from nearfeed_embedder.graph.features import Features
from nearfeed_embedder.graph.group import from_first, process_group
from nearfeed_embedder.graph.pinsage import Shape
from nearfeed_embedder.graph.train import Trained, TrainRule, Validate, Vectors
from nearfeed_embedder.stages import Stage, finish

_Task = tuple[Callable[..., Stage[Trained]], bool]
_NOTHING: _Task | None = None


def train(
    features: Features,
    readings: Readings,
    half_life_days: float,
    shape: Shape,
    rule: TrainRule,
    *,
    seed: int,
    device: torch.device,
    stage: str = "Training",
    stop_after: int | None = None,
    validate: Validate | None = None,
) -> Stage[Trained]:
    """As `graph.train.train`, by all processes of the group; the first of them alone calls it.

    `validate` runs in the first; the others learn its values, so that all stop after the same epoch.
    """
    data = (features, readings, half_life_days, shape, rule)
    work = partial(one_process.train, *data, seed=seed, stage=stage, stop_after=stop_after)
    if dist.is_initialized():
        from_first((work, validate is not None))
        validate = validate and partial(_share_value, validate)
    return work(device=device, validate=validate)


@contextmanager
def leading(device: torch.device) -> Iterator[None]:
    """What the first process does; the others follow until its end."""
    with process_group(device):
        try:
            yield
        except NearfeedError:
            _dismiss()
            raise
        _dismiss()


def follow(device: torch.device) -> None:
    """What the other processes do: all trainings that the first one begins."""
    with process_group(device):
        while task := from_first(_NOTHING):
            work, has_validation = task
            finish(work(device=device, validate=_learn_value if has_validation else None))


def _dismiss() -> None:
    if dist.is_initialized():
        from_first(_NOTHING)


def _share_value(validate: Validate, vectors: Vectors) -> float:
    return from_first(validate(vectors))


def _learn_value(_vectors: Vectors) -> float:
    return from_first()
