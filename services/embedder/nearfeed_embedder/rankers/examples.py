"""What rankers learn from: posts that a reader was shown at once, and which of them they read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.errors import NearfeedError
from nearfeed_core.ranking_features import Features, FeatureSpec, Featuriser
from nearfeed_core.ranking_inputs import PostInputs, ReaderInputs
from nearfeed_embedder.stages import Stage

DAY_MICROS = 86_400_000_000
LABEL_DAYS = 7.0


class TooFewExamplesError(NearfeedError):
    """Nothing that a ranker could learn from."""


@dataclass(frozen=True)
class Group:
    """One request: posts in their order, with the places at which they were shown, from 0.

    All places are 0 where nothing was shown. `grades` (n) are the weights of what the reader did with them
    afterwards, 0 for nothing.
    """

    reader: ReaderInputs
    posts: tuple[PostInputs, ...]
    positions: tuple[int, ...]
    grades: NDArray[np.float32]

    @property
    def tells(self) -> bool:
        """Whether some posts were read and others not, without which no order can be learned."""
        return bool((self.grades > 0).any() and (self.grades == 0).any())


@dataclass(frozen=True)
class Table:
    """Rows of all groups, one group after the other: `grades` (rows), `sizes` (groups)."""

    features: Features
    grades: NDArray[np.float32]
    sizes: NDArray[np.intp]

    @property
    def read(self) -> NDArray[np.float32]:
        """1 where the post was read, else 0 (rows)."""
        return (self.grades > 0).astype(np.float32)

    @property
    def slices(self) -> list[slice]:
        """The rows of each group."""
        return [slice(*ends) for ends in pairwise(np.concatenate([[0], np.cumsum(self.sizes)]).tolist())]


@dataclass(frozen=True)
class TimeParts:
    """Groups by time: the first to learn from, those after it to stop by, the last to measure with."""

    train: list[Group]
    valid: list[Group]
    test: list[Group]

    @property
    def all(self) -> list[Group]:
        return [*self.train, *self.valid, *self.test]


def table_of(groups: Sequence[Group], featuriser: Featuriser, *, positions: bool) -> Table:
    """Features of all rows; without `positions` as they are when served."""
    of_groups = [
        featuriser.features(group.reader, group.posts, group.positions if positions else None)
        for group in groups
    ]
    features = Features(
        np.concatenate([of.dense for of in of_groups]), np.concatenate([of.categories for of in of_groups])
    )
    grades = np.concatenate([group.grades for group in groups])
    return Table(features, grades, np.array([len(group.posts) for group in groups], np.intp))


def parts_by_time(groups: Sequence[Group], *, train: float = 0.7, valid: float = 0.15) -> TimeParts:
    """Groups that tell something, in three parts by when they were served. Raises TooFewExamplesError."""
    telling = sorted((group for group in groups if group.tells), key=lambda group: group.reader.served_at)
    first, second = int(train * len(telling)), int((train + valid) * len(telling))
    parts = TimeParts(telling[:first], telling[first:second], telling[second:])
    if not (parts.train and parts.valid and parts.test):
        raise TooFewExamplesError(
            f"A ranker needs requests of which some posts were read and others not, and {len(telling)} of "
            f"{len(groups)} are such: serve more, or train on past readings (from_history=true)."
        )
    return parts


Format = Literal["lightgbm", "onnx"]
THREADS = 2


@dataclass(frozen=True)
class Task:
    """What to fit: with `valid` it stops by that, without it after `rounds` (trees or epochs)."""

    spec: FeatureSpec
    train: Table
    seed: int
    valid: Table | None = None
    rounds: int | None = None


@dataclass(frozen=True)
class Fitted:
    """A ranker: `score` gives (n) scores, higher is better; `write` its content as a file of the format."""

    score: Callable[[Features], NDArray[np.float32]]
    rounds: int
    format: Format
    write: Callable[[], bytes]

    @property
    def file(self) -> str:
        return {"lightgbm": "ranker.txt", "onnx": "ranker.onnx"}[self.format]


Fit = Callable[[Task], Stage[Fitted]]
