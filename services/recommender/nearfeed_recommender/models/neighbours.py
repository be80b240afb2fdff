"""Item-to-item lists of a run, in memory."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from nearfeed_contracts.runs import NEIGHBOURS, BrokenRunError, Run
from nearfeed_contracts.vector_store import Hit
from nearfeed_recommender.models.lists import Numbers, RankedLists, Scores, ranked_lists


@dataclass(frozen=True)
class Neighbours:
    """Safe for use by several threads: nothing in it changes."""

    lists: RankedLists

    def of(self, item_id: str, limit: int | None = None) -> list[Hit]:
        """The item's neighbours by rank; [] for one that has no list."""
        rows = self.lists.rows_of(item_id)
        return self._hits(self.lists.items[rows][:limit], self.lists.scores[rows][:limit])

    def closest(
        self, readings: Sequence[tuple[str, float]], limit: int, exclude: Collection[str] = ()
    ) -> Iterator[Hit]:
        """Item-kNN of a reader (Sarwar et al., WWW 2001): what the items they read are close to.

        A neighbour scores the sum of the weight of each reading times its score in the list of that item.
        Best first, ties by id; of `limit` at most, none of `exclude`, made as far as they are asked for. What
        is read has to be excluded by the caller.
        """
        parts = [(self.lists.rows_of(item_id), weight) for item_id, weight in readings]
        items = np.concatenate([self.lists.items[rows] for rows, _ in parts] or [np.empty(0, np.int32)])
        scores = [np.float64(weight) * self.lists.scores[rows] for rows, weight in parts]
        found, place = np.unique(items, return_inverse=True)
        sums = np.bincount(place, np.concatenate(scores or [np.empty(0)]), minlength=len(found))
        best = (Hit(self._id(found[row]), float(sums[row])) for row in np.lexsort((found, -sums)))
        return islice((hit for hit in best if hit.item_id not in exclude), limit)

    def _id(self, number: int) -> str:
        return self.lists.item_ids[number]

    def _hits(self, items: Numbers, scores: Scores) -> list[Hit]:
        return [Hit(self._id(item), float(score)) for item, score in zip(items, scores, strict=True)]


def load_neighbours(run: Run) -> Neighbours:
    """Reads neighbours.parquet whole. Raises BrokenRunError."""
    lists = ranked_lists(NEIGHBOURS, run.neighbour_batches())
    owner_of_item = np.array([lists.owners.get(item_id, -1) for item_id in lists.item_ids], np.int64)
    owners = np.repeat(np.arange(len(lists.owners)), np.diff(lists.starts))
    own = owner_of_item[lists.items] == owners
    if own.any():
        item_id = lists.item_ids[lists.items[int(np.argmax(own))]]
        raise BrokenRunError(f"{NEIGHBOURS}: item {item_id} is a neighbour of itself; leave it out.")
    return Neighbours(lists)
