"""Ranked lists of a run by user, in memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nearfeed_contracts.fields import in_utc, to_micros
from nearfeed_contracts.runs import LISTS, BrokenRunError, RankedBatch, Run
from nearfeed_contracts.vector_store import Hit
from nearfeed_recommender.config.schema import EVERYBODY

Numbers = NDArray[np.int32]
Scores = NDArray[np.float32]


@dataclass(frozen=True)
class RankedLists:
    """`items` (rows) are numbers of `item_ids`, in the order of the ids, `scores` (rows) theirs.

    The list of an owner, `owners` tells its number o, is rows starts[o] to starts[o + 1], by rank.
    """

    owners: dict[str, int]
    item_ids: list[str]
    starts: NDArray[np.int64]
    items: Numbers
    scores: Scores

    def rows_of(self, owner: str) -> slice:
        """The rows of an owner's list; none where it has no list."""
        number = self.owners.get(owner)
        return slice(0) if number is None else slice(int(self.starts[number]), int(self.starts[number + 1]))


def ranked_lists(file: str, batches: Iterable[RankedBatch]) -> RankedLists:
    """Raises BrokenRunError where a list holds an item or a rank twice, and what the batches raise."""
    owner_numbers: dict[str, int] = {}
    item_numbers: dict[str, int] = {}
    parts = [
        (
            _numbered(batch.owners, owner_numbers),
            _numbered(batch.item_ids, item_numbers),
            batch.ranks,
            batch.scores,
        )
        for batch in batches
    ]
    owners, items, ranks = (_joined([part[column] for part in parts], np.int32) for column in range(3))
    scores = _joined([part[3] for part in parts], np.float32)
    item_ids, items = _in_order_of_ids(item_numbers, items)
    names = list(owner_numbers)
    for what, column in (("item", items), ("rank", ranks)):
        twice = _one_that_is_twice(owners, column)
        if twice is not None:
            told = item_ids[column[twice]] if what == "item" else column[twice]
            raise BrokenRunError(f"{file}: the list of {names[owners[twice]]} holds {what} {told} twice.")
    order = np.lexsort((ranks, owners))
    starts = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=len(names)))]).astype(np.int64)
    return RankedLists(owner_numbers, item_ids, starts, items[order], scores[order])


def _numbered(ids: pa.Array, numbers: dict[str, int]) -> Numbers:
    """The numbers (n) of ids; those that are new get the next ones."""
    encoded = ids.cast(pa.string()).dictionary_encode()
    of_dictionary = [numbers.setdefault(name, len(numbers)) for name in encoded.dictionary.to_pylist()]
    return np.asarray(np.array(of_dictionary, np.int32)[encoded.indices.to_numpy()])


def _in_order_of_ids(numbers: dict[str, int], items: Numbers) -> tuple[list[str], Numbers]:
    ids = sorted(numbers)
    place = np.empty(len(ids), np.int32)
    place[[numbers[name] for name in ids]] = np.arange(len(ids))
    return ids, place[items]


def _one_that_is_twice(owners: Numbers, column: Numbers) -> int | None:
    """A row whose owner has an earlier row with the same value."""
    order = np.lexsort((column, owners))
    same = (np.diff(owners[order]) == 0) & (np.diff(column[order]) == 0)
    return int(order[1:][np.argmax(same)]) if same.any() else None


def _joined(parts: Sequence[NDArray[Any]], kind: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([*parts, np.empty(0, kind)])


@dataclass(frozen=True)
class Lists:
    """Safe for use by several threads: nothing in it changes.

    `data_last` is the time of the newest reading that they may follow from, in microseconds since 1970.
    """

    lists: RankedLists
    data_last: int = 0

    def has(self, user_id: str) -> bool:
        """Whether the reader has a list of their own."""
        return user_id in self.lists.owners

    def of(self, user_id: str, limit: int | None = None) -> list[Hit]:
        """The reader's list by rank, or everybody's where they have none; [] where nobody has one."""
        owner = user_id if user_id in self.lists.owners else EVERYBODY
        rows = self.lists.rows_of(owner)
        items, scores = self.lists.items[rows][:limit], self.lists.scores[rows][:limit]
        return [
            Hit(self.lists.item_ids[item], float(score)) for item, score in zip(items, scores, strict=True)
        ]


def load_lists(run: Run) -> Lists:
    """Reads lists.parquet whole. Raises BrokenRunError."""
    made = run.manifest.data.last or run.manifest.created_at
    return Lists(ranked_lists(LISTS, run.list_batches()), to_micros(in_utc(made)))
