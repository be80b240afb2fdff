"""The weights of many interaction rows at once, by the same rule as those of one row.

`nearfeed_core.readings.Reading` is the definition; here it is computed column by column.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.events import KINDS, Kind
from nearfeed_core.readings import DAY_MICROS, EXCLUDING, LOWEST_GOOD_RATING, UNDOES, WeightRule

Times = NDArray[np.float64]


def row_weights(
    times: Times, ratings: NDArray[np.float64], rule: WeightRule
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Weight and newest counting time (both n) of rows of interactions.

    `times` is (n, kinds) in microseconds in the order of KINDS, `ratings` is (n); NaN means none.
    A weight is relative to its row's own newest counting time; both are 0 where the row does not count.
    """
    by_kind = {kind: times[:, column] for column, kind in enumerate(KINDS)}
    counting = np.where(_counts(by_kind, ratings), times, -np.inf)
    newest = np.maximum(counting.max(axis=1), 0)
    kind_weights = np.array([rule.by_kind.get(kind, 0.0) for kind in KINDS])
    weight = np.exp2((counting - newest[:, None]) / (rule.half_life_days * DAY_MICROS)) @ kind_weights
    return np.asarray(weight), newest.astype(np.int64)


def _counts(by_kind: Mapping[Kind, Times], ratings: NDArray[np.float64]) -> NDArray[np.bool_]:
    excluded = ratings < LOWEST_GOOD_RATING
    for kind in EXCLUDING:
        excluded |= ~np.isnan(by_kind[kind])
    undone_by = {undone: undoing for undoing, undone in UNDOES.items()}
    columns = []
    for kind in KINDS:
        counts = ~np.isnan(by_kind[kind]) & (kind not in UNDOES)
        if kind in undone_by:
            counts &= ~(by_kind[undone_by[kind]] >= by_kind[kind])
        columns.append(counts & ~excluded)
    return np.stack(columns, axis=1)
