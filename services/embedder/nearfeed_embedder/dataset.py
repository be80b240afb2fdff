"""What models are trained on: posts, and readings with the weights that are served."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.errors import NearfeedError
from nearfeed_core.pooling import NEWEST_READINGS
from nearfeed_core.readings import DAY_MICROS

Rows = NDArray[np.intp]
Weights = NDArray[np.float64]


class TooLittleDataError(NearfeedError):
    """There is nothing that a model could be trained on."""


@dataclass(frozen=True)
class Post:
    """What a model may read of one post."""

    item_id: str
    community_id: str
    tags: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Readings:
    """One row per reader and post, sorted by reader, time and post; all arrays have n rows.

    `reader` and `item` count from 0, `time` is in microseconds since 1970, `weight` is relative to
    the row's own time; `profile` brings it to the reader's newest.
    """

    reader: Rows
    item: Rows
    time: NDArray[np.int64]
    weight: Weights

    def __len__(self) -> int:
        return len(self.reader)

    def take(self, rows: NDArray[np.bool_] | Rows) -> "Readings":
        return Readings(self.reader[rows], self.item[rows], self.time[rows], self.weight[rows])

    def sorted(self) -> "Readings":
        return self.take(np.lexsort((self.item, self.time, self.reader)))

    def rows_by_reader(self) -> list[Rows]:
        """The rows of each reader that has any, in the order of time."""
        ends = np.flatnonzero(np.diff(self.reader)) + 1
        return np.split(np.arange(len(self)), ends) if len(self) else []


@dataclass(frozen=True)
class Dataset:
    """Posts in the order of their ids, their versions (n), and readings of them.

    `reader_ids` names the readers by their numbers; it is empty where the data came without SQL.
    """

    posts: list[Post]
    versions: NDArray[np.int64]
    readings: Readings
    half_life_days: float
    reader_ids: Sequence[str] = ()

    def before(self, time: int) -> "Dataset":
        """With the readings before a time, in microseconds since 1970."""
        return replace(self, readings=self.readings.take(self.readings.time < time))


def text_of(title: str, body: str) -> str:
    """What the text model reads of a post."""
    return f"{title}\n{body}" if body else title


def profile(readings: Readings, rows: Rows, half_life_days: float) -> tuple[Rows, Weights]:
    """Items and weights of the newest 512 of `rows` (one reader's, in the order of time).

    The weights are those that are served: they decay back from the newest of these readings.
    """
    newest = rows[-NEWEST_READINGS:]
    time = readings.time[newest]
    decay = np.exp2((time - time.max()) / (half_life_days * DAY_MICROS))
    return readings.item[newest], readings.weight[newest] * decay


def can_train_on(readings: Readings) -> bool:
    """Whether some reader has read two posts: one to be described by, one to find."""
    return len(readings) > 0 and int(np.bincount(readings.reader).max()) > 1


def check_trainable(dataset: Dataset) -> None:
    """Raises TooLittleDataError where there are no posts, or no reader who has read two."""
    if not dataset.posts:
        raise TooLittleDataError("There are no posts to train on: import items first (nearfeed import).")
    if not len(dataset.readings):
        raise TooLittleDataError(
            "There are no readings to train on: import interactions first (nearfeed import)."
        )
    if not can_train_on(dataset.readings):
        raise TooLittleDataError(
            "No reader has read two posts, which training needs: import more interactions first."
        )
