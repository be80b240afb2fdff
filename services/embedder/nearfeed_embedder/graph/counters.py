"""What is known of a post by how often it was read."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfeed_core.readings import DAY_MICROS
from nearfeed_embedder.dataset import Readings

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
