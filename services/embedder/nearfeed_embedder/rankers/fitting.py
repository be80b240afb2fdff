"""What a trainer of rankers gives, and what it starts from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nearfeed_core.ranking_features import Features, FeatureSpec
from nearfeed_embedder.rankers.examples import Table
from nearfeed_embedder.stages import Stage

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
