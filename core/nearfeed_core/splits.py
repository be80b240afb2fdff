"""A split of readings by time: train before a cut, evaluate on what its readers read after it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]
Times = NDArray[np.int64]
TRAIN_SHARE = 0.7
LEAST_LATER = 10


@dataclass(frozen=True)
class HeldOut:
    """A reader of the evaluation; `past` and `targets` are rows of the readings, oldest first."""

    reader: int
    past: Rows
    targets: Rows


@dataclass(frozen=True)
class TimeSplit:
    """`cut` is a time; `train` (readings) marks rows before it, `known` (items) what is ranked.

    That is what was read before the cut, or with `with_new` everything.
    """

    cut: int
    train: NDArray[np.bool_]
    known: NDArray[np.bool_]
    held_out: list[HeldOut]
    with_new: bool = False


def split_by_time(
    readers: Rows,
    items: Rows,
    times: Times,
    n_items: int,
    *,
    share: float = TRAIN_SHARE,
    least_later: int = LEAST_LATER,
    with_new: bool = False,
) -> TimeSplit:
    """Cuts at `share` of the readings in time; readings at the very time of the cut come after it.

    A reader with at least `least_later` later readings of known items is described by the first half
    of those (the smaller one) and by what came before, and scored on the second half. Readings of
    one time are ordered by item, so that any order of the rows gives the same split. With `with_new`
    items that nobody had read before the cut count as known.
    """
    order = np.lexsort((items, times, readers))
    cut = int(np.sort(times)[int(share * len(times))])
    train = times < cut
    known = np.full(n_items, with_new)
    known[items[train]] = True
    ends = np.flatnonzero(np.diff(readers[order])) + 1
    held_out = [_hold_out(rows, train, known[items], readers, least_later) for rows in np.split(order, ends)]
    return TimeSplit(cut, train, known, [case for case in held_out if case is not None], with_new)


def _hold_out(
    rows: Rows, train: NDArray[np.bool_], known: NDArray[np.bool_], readers: Rows, least_later: int
) -> HeldOut | None:
    later = rows[~train[rows] & known[rows]]
    if len(later) < max(2, least_later):
        return None
    half = len(later) // 2
    return HeldOut(int(readers[rows[0]]), np.concatenate([rows[train[rows]], later[:half]]), later[half:])
