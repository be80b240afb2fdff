"""Vectors by space: a space may be let go of while somebody asks for it."""

from collections.abc import Sequence

import numpy as np

from nearfeed_recommender.providers.contexts import KeptBySpace
from nearfeed_recommender.readers.profiles import Vector


def load(space: str, ids: Sequence[str]) -> dict[str, Vector]:
    return {item: np.full(2, float(space), np.float32) for item in ids}


class LetGo(str):
    """The name of a space that others push out as soon as it has been looked up once."""

    kept: KeptBySpace
    looked_up = 0

    def __hash__(self) -> int:
        self.looked_up += 1
        if self.looked_up == 1:
            for other in range(4):
                self.kept.of(str(other), ["p1"])
        return super().__hash__()


def test_a_space_that_is_let_go_of_meanwhile_is_answered() -> None:
    kept = KeptBySpace(load)
    kept.of("9", ["p1"])
    name = LetGo("9")
    name.kept = kept
    assert kept.of(name, ["p1"])["p1"].tolist() == [9.0, 9.0]
