"""What processes that train together do in step; where there is no group, this process is all of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from nearfeed_contracts.errors import NearfeedError
from nearfeed_core.readings import DAY_MICROS
from nearfeed_embedder.dataset import Readings
from nearfeed_embedder.processes import size

COUNTERS = 4
_YEAR = 365 * DAY_MICROS


def counters_of(readings: Readings, n_items: int) -> Tensor:
    """(n_items, COUNTERS) float32, all 0 for posts without readings.

    The number of readings, their weight, and the number of the last year's, each by the number of
    readers (log), and the mean weight of a reading over that of all.
    """
    if not len(readings):
        return torch.zeros(n_items, COUNTERS)
    readers = len(np.unique(readings.reader))
    relative = readings.weight / readings.weight.mean()
    count, weight = (np.bincount(readings.item, weights, n_items) for weights in (None, relative))
    recent = readings.take(readings.time > readings.time.max() - _YEAR)
    columns = [
        _log_share(count, readers),
        _log_share(weight, readers),
        _log_share(np.bincount(recent.item, minlength=n_items), readers),
        weight / np.maximum(count, 1) / 2,
    ]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))


def _log_share(count: NDArray[np.float64] | NDArray[np.int64], readers: int) -> NDArray[np.float64]:
    return np.asarray(np.log1p(1000 * count / readers) / 4)


T = TypeVar("T")
# The others wait while the first reads data, encodes texts and evaluates. torchrun ends the group at once
# when a process dies; this long alone a process may hang.
_PATIENCE = timedelta(days=1)


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Joins the processes that torchrun started, and leaves them together, where an operator erred as well.

    After any other error the process must end, as the others do.
    """
    if size() == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield
    except NearfeedError:
        _leave()
        raise
    _leave()


def _leave() -> None:
    dist.barrier()  # nobody leaves while another still listens
    dist.destroy_process_group()


def own_share() -> slice:
    """This process's rows of a batch."""
    return slice(dist.get_rank(), None, dist.get_world_size()) if dist.is_initialized() else slice(None)


def add_gradients(model: nn.Module) -> None:
    """Every process gets the sum of all processes' gradients."""
    if dist.is_initialized():
        for parameter in model.parameters():
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)


def from_first(value: T | None = None) -> T:
    """What the first process gives, in all of them."""
    given = [value]
    dist.broadcast_object_list(given, src=0)
    return given[0]  # type: ignore[return-value]
