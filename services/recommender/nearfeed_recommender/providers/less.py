"""Less like this: posts that a reader wants less of take those like them along, whatever brought these.

A post is as near to them as its context's highest cosine with one of theirs: each is a model of its own of
what is not wanted, of which the nearest speaks (MultiNeg of Wang, Fang and Zhai, "A study of methods for
negative relevance feedback", SIGIR 2008, after Rocchio's subtraction of what was judged irrelevant, 1971).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nearfeed_recommender.providers.candidates import Candidate
from nearfeed_recommender.providers.contexts import contexts_of
from nearfeed_recommender.providers.diversity import ROUNDING, unit_vectors
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving
from nearfeed_runtime.sql import reading

STEP = "less"
CLOSE = 0.95
"""From this cosine on a post is not shown at all."""
STRENGTH = 0.5
"""What a post loses that is wholly like them, where the first of the candidates is worth 1, the last 0."""
MOST = 64
"""So many of the posts that are wanted less of are looked at, the newest."""
Values = NDArray[np.float64]


def less_like(serving: Serving, request: Request, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates without those close to what the reader wants less of, the others by `order_by`."""
    less = request.audience.controls.less
    near = nearness(serving, less, request.space, [candidate.item_id for candidate in candidates])
    kept = [candidates[row] for row in np.flatnonzero(~_is_close(near)).tolist()]
    return [
        kept[row] if row == place else kept[row].marked(STEP, place + 1, kept[row].score)
        for place, row in enumerate(order_by(near[~_is_close(near)]))
    ]


def close_ones(
    serving: Serving, less: Sequence[str], space: str | None, ids: Sequence[str]
) -> frozenset[str]:
    """Those of `ids` that are close to posts of `less`; free where there is none of these."""
    close = _is_close(nearness(serving, less, space, ids))
    return frozenset(ids[row] for row in np.flatnonzero(close).tolist())


def nearness(serving: Serving, less: Sequence[str], space: str | None, ids: Sequence[str]) -> Values:
    """(ids) the highest cosine of each context in the space with one of the first `MOST` of `less`.

    NaN for a post without a context there, and for all where none of `less` has one.
    """
    unknown = np.full(len(ids), np.nan)
    if space is None or not ids or not less:
        return unknown
    with reading(serving.engine) as connection:
        unwanted = contexts_of(serving.pooling, connection, space, less[:MOST])
    contexts = serving.contexts.of(space, ids)
    known = np.array([item in contexts for item in ids], np.bool_)
    if not unwanted or not known.any():
        return unknown
    cosines = unit_vectors(ids, contexts) @ unit_vectors(list(unwanted), unwanted).T
    return np.where(known, cosines.max(axis=1), np.nan)


def order_by(near: Values) -> list[int]:
    """The places 0 to n - 1 by worth, best first, of equals the first: 1 - place / n - STRENGTH * excess.

    The excess is how far the nearness (n) lies above its mean m, as a share of what there is: (near - m) /
    (1 - m), 0 below it and where nothing is known. So a space whose cosines are all high moves no post.
    """
    known = near[~np.isnan(near)]
    mean = float(known.mean()) if known.size else 0.0
    excess = np.nan_to_num(np.clip((near - mean) / max(1.0 - mean, ROUNDING), 0.0, 1.0))
    worth = 1.0 - np.arange(len(near)) / max(len(near), 1) - STRENGTH * excess
    return [int(index) for index in np.argsort(-worth, kind="stable")]


def _is_close(near: Values) -> NDArray[np.bool_]:
    return np.asarray(near >= CLOSE - ROUNDING)
