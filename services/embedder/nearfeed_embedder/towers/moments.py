"""What a tower learns from: a reader before a reading, and which post that was."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfeed_core.pooling import NEWEST_READINGS
from nearfeed_core.readings import DAY_MICROS
from nearfeed_embedder.dataset import Readings, Rows


@dataclass(frozen=True)
class Moments:
    """Readings that something lies before: `rows` of the readings, with those of the same reader before.

    The history of each is `first` (inclusive) to `last` (exclusive), 512 rows at most; `age` is the time
    from the reading to the last of all, 1 for the whole span of the readings.
    """

    rows: Rows
    first: Rows
    last: Rows
    age: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: Rows) -> "Moments":
        return Moments(self.rows[chosen], self.first[chosen], self.last[chosen], self.age[chosen])


@dataclass(frozen=True)
class Batch:
    """Histories of readers, one after the other: `items` and `weights` (entries), `starts` (readers).

    `total` (readers) are the sums of weights, `age` and `target` (readers) as they are learned from.
    """

    items: Tensor
    weights: Tensor
    starts: Tensor
    total: Tensor
    age: Tensor
    target: Tensor


def moments_of(readings: Readings) -> Moments:
    """All readings before which their reader has read something."""
    first, last = _histories(readings)
    rows = np.flatnonzero(last > first)
    span = max(1, int(readings.time.max(initial=0) - readings.time.min(initial=0)))
    age = (readings.time.max(initial=0) - readings.time[rows]) / span
    return Moments(rows, first[rows], last[rows], age.astype(np.float32))


def of_each_reader(moments: Moments, readings: Readings, most: int, rng: np.random.Generator) -> Moments:
    """At most so many random ones of each reader, so that all readers count alike.

    Covington et al., RecSys 2016, section 3.4.
    """
    order = rng.permutation(len(moments))
    readers = readings.reader[moments.rows[order]]
    order = order[np.argsort(readers, kind="stable")]
    readers = readings.reader[moments.rows[order]]
    starts = np.searchsorted(readers, readers)
    return moments.take(order[np.arange(len(order)) - starts < most])


def batches(
    moments: Moments, readings: Readings, half_life_days: float, size: int, rng: np.random.Generator
) -> Iterator[Batch]:
    """All moments in a random order."""
    order = rng.permutation(len(moments))
    for start in range(0, len(order), size):
        yield batch_of(moments.take(order[start : start + size]), readings, half_life_days)


def batch_of(moments: Moments, readings: Readings, half_life_days: float) -> Batch:
    lengths = moments.last - moments.first
    starts = np.cumsum(lengths) - lengths
    rows = np.arange(lengths.sum()) - np.repeat(starts - moments.first, lengths)
    newest = np.repeat(readings.time[moments.last - 1], lengths)
    weights = readings.weight[rows] * np.exp2((readings.time[rows] - newest) / (half_life_days * DAY_MICROS))
    total = np.add.reduceat(weights, starts) if len(starts) else np.empty(0)
    return Batch(
        torch.from_numpy(readings.item[rows]),
        torch.from_numpy((weights / np.repeat(total, lengths)).astype(np.float32)),
        torch.from_numpy(starts),
        torch.from_numpy(total.astype(np.float32)),
        torch.from_numpy(moments.age),
        torch.from_numpy(readings.item[moments.rows]),
    )


def _histories(readings: Readings) -> tuple[Rows, Rows]:
    """The rows [first, last) of the same reader that lie before each reading in time (both n)."""
    last = np.zeros(len(readings), np.intp)
    first = np.zeros(len(readings), np.intp)
    for rows in readings.rows_by_reader():
        last[rows] = rows[0] + np.searchsorted(readings.time[rows], readings.time[rows])
        first[rows] = np.maximum(rows[0], last[rows] - NEWEST_READINGS)
    return first, last
