"""Training by folds of readers: the readers of a fold are absent from the graph that is walked for them.

So no reader is given what they are to find, as it is when posts that they have not read yet are
ranked for them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfeed_embedder.dataset import Readings, Rows, profile
from nearfeed_embedder.graph.group import counters_of
from nearfeed_embedder.graph.neighbours import Neighbours
from nearfeed_embedder.graph.walks import WalkRule, importance_neighbours


@dataclass(frozen=True)
class Fold:
    """Readers, each by the rows of their readings in the order of time, and posts as others read them.

    `importance` (readers) is what each of them counts in the loss.
    """

    readers: list[Rows]
    importance: NDArray[np.float64]
    neighbours: Neighbours
    counters: Tensor


@dataclass(frozen=True)
class Examples:
    """Readers as rows (b, n) of weights that sum to 1: what describes them, and what they are to find."""

    history: Tensor
    target: Tensor


def reader_folds(
    readings: Readings, n_items: int, count: int, rule: WalkRule, rng: np.random.Generator, recency: float
) -> Iterator[Fold]:
    """Random folds of the readers who have read two posts or more, at most `count`.

    A reader whose last reading is the oldest counts exp(-recency) of one whose last is the newest.
    """
    readers = [rows for rows in readings.rows_by_reader() if len(rows) > 1]
    importance = _importance(readings, readers, recency)
    parts = np.array_split(rng.permutation(len(readers)), min(count, len(readers)))
    for part in (np.sort(part) for part in parts):
        absent = np.concatenate([readers[index] for index in part])
        others = readings.take(np.setdiff1d(np.arange(len(readings)), absent, assume_unique=True))
        seed = int(rng.integers(2**31))
        yield Fold(
            [readers[index] for index in part],
            importance[part],
            importance_neighbours(others, n_items, rule, seed),
            counters_of(others, n_items),
        )


def draw_examples(
    readings: Readings,
    n_items: int,
    readers: Sequence[Rows],
    half_life_days: float,
    rng: np.random.Generator,
    *,
    kept_share: tuple[float, float],
    target_power: float,
    share: slice = slice(None),
) -> Examples:
    """Splits each reader's readings at random into what describes them and what they are to find.

    The weights of the history are those that are served; a target counts by its weight to the power
    of `target_power`. Only those of the readers in `share` are returned, who are split as if all were.
    """
    splits = [_split(rows, kept_share, rng) for rows in readers][share]
    history, target = torch.zeros(len(splits), n_items), torch.zeros(len(splits), n_items)
    for row, (kept, left) in enumerate(splits):
        items, weights = profile(readings, np.sort(kept), half_life_days)
        history[row, items] = _shares(weights)
        target[row, readings.item[left]] = _shares(readings.weight[left] ** target_power)
    return Examples(history, target)


def _split(rows: Rows, kept_share: tuple[float, float], rng: np.random.Generator) -> tuple[Rows, Rows]:
    kept = int(np.clip(round(len(rows) * rng.uniform(*kept_share)), 1, len(rows) - 1))
    order = rng.permutation(rows)
    return order[:kept], order[kept:]


def _importance(readings: Readings, readers: Sequence[Rows], recency: float) -> NDArray[np.float64]:
    last = np.array([readings.time[rows[-1]] for rows in readers], dtype=np.float64)
    age = (last.max() - last) / max(1.0, last.max() - last.min())
    return np.asarray(np.exp(-recency * age))


def _shares(weights: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(weights / weights.sum()).float()
