"""What a simulated reader does with a page: a pure function of their taste, the places and the draws."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
KINDS = ("click", "read", "like")
_FADES = 0.15  # k of the examination 1 / (1 + k · position)
_BY_CHANCE = 0.02  # clicks of a post that is looked at, whatever it is
_BY_TASTE = 0.4  # more of them where it is to the reader's taste
_READ = 0.8  # of what is clicked
_GOES_ON = 0.3
_GOES_ON_PLEASED = 0.7


class Act(NamedTuple):
    """Something done with a post."""

    item_id: str
    kind: str


def examination(positions: Floats) -> Floats:
    """The chance that a post which is on the screen is looked at, by its position in the answer, from 0."""
    return np.asarray(1 / (1 + _FADES * positions))


def click_chance(taste: Floats) -> Floats:
    """The chance that a post which is looked at is clicked."""
    return np.asarray(_BY_CHANCE + _BY_TASTE * taste)


def acts_on(item_ids: Sequence[str], taste: Floats, first: int, draws: Floats) -> list[Act]:
    """Every post is seen; some are clicked, some of these read, and some of these liked.

    `taste` is that for each post, `first` the position of the first, `draws` (posts, 3) are uniform.
    """
    examined = examination(first + np.arange(len(item_ids), dtype=np.float64))
    chances = np.column_stack([examined * click_chance(taste), np.full(len(taste), _READ), taste])
    done = np.logical_and.accumulate(draws < chances, axis=1)
    acts = [Act(item, "impression") for item in item_ids]
    return acts + [
        Act(item, kind)
        for item, row in zip(item_ids, done, strict=True)
        for kind, is_done in zip(KINDS, row, strict=True)
        if is_done
    ]


def goes_on(acts: Sequence[Act], draw: float) -> bool:
    """Whether the next page is asked for: rather where this one had something to click."""
    pleased = any(act.kind == "click" for act in acts)
    return draw < (_GOES_ON_PLEASED if pleased else _GOES_ON)
