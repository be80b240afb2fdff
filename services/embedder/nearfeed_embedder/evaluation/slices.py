"""Groups of readers and of posts that a mean over everything hides."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nearfeed_embedder.dataset import Rows
from nearfeed_embedder.evaluation.ranking import Ranking, rank
from nearfeed_embedder.evaluation.split import Scorer, Split

ALL = "all"
NEW_READERS = "new readers"
NEW_POSTS = "new posts"
AMONG_NEW_POSTS = "among new posts"


def reader_slices(split: Split, readers: Rows) -> dict[str, NDArray[np.bool_]]:
    """Which `readers` belong to each slice; every mask has their length.

    New readers have nothing that models have learned from. The others are thirds by the number of
    readings that describe a reader, readers with equal numbers together. A slice may be empty.
    """
    sizes = np.diff(split.history.indptr)[readers]
    low, high = np.quantile(sizes, [1 / 3, 2 / 3], method="lower") if len(sizes) else (0, 0)
    return {
        ALL: np.ones(len(readers), np.bool_),
        NEW_READERS: np.diff(split.train.indptr)[readers] == 0,
        f"few readings (to {low})": sizes <= low,
        f"some readings (to {high})": (sizes > low) & (sizes <= high),
        f"many readings (over {high})": sizes > high,
    }


def post_slices(scorer: Scorer, split: Split) -> Mapping[str, Ranking]:
    """Rankings for what only new posts, which nobody had read in train, are looked for.

    `new posts` ranks them among all, so that it shows whether they are buried; `among new posts`
    ranks them alone. {} where no target is new.
    """
    if not has_new_targets(split):
        return {}
    new = split.new_items
    return {
        NEW_POSTS: rank(scorer, split, wanted=new),
        AMONG_NEW_POSTS: rank(scorer, split, among=new),
    }


def empty_slices(split: Split) -> list[str]:
    """The names of the slices that hold no reader of the split."""
    of_readers = [name for name, chosen in reader_slices(split, split.readers).items() if not chosen.any()]
    return of_readers + ([] if has_new_targets(split) else [NEW_POSTS, AMONG_NEW_POSTS])


def has_new_targets(split: Split) -> bool:
    return bool(split.targets[:, split.new_items].nnz)
