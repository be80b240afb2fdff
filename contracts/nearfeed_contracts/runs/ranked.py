"""neighbours.parquet and lists.parquet: items in an order, under the id that they are for."""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from numpy.typing import NDArray

from nearfeed_contracts.runs.columns import check_names, column, ids, integers
from nearfeed_contracts.runs.manifest import COLUMNS, LISTS, NEIGHBOURS, BrokenRunError

_MOST_RANKS = np.iinfo(np.int32).max


@dataclass(frozen=True)
class RankedBatch:
    """n rows of lists: `owners` have them, items or readers, and `item_ids` are what stands in them.

    Ids are pyarrow arrays of strings, ranks (n) int32 from 1 and scores (n) float32. The rows of a list
    may lie apart, in any order.
    """

    owners: pa.Array
    item_ids: pa.Array
    ranks: NDArray[np.int32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ranks)


def write_neighbours(url: str, batches: Iterable[RankedBatch]) -> int:
    """Writes neighbours.parquet, whose owners are items; returns how many rows it has."""
    return _write(url, NEIGHBOURS, batches)


def write_lists(url: str, batches: Iterable[RankedBatch]) -> int:
    """Writes lists.parquet, whose owners are readers, `*` everybody; returns how many rows it has."""
    return _write(url, LISTS, batches)


def ranked_batch(file: str, batch: pa.RecordBatch) -> RankedBatch:
    """Rows of NEIGHBOURS or LISTS that have been checked. Raises BrokenRunError."""
    owner, item, rank, score = COLUMNS[file]
    check_names(file, batch, COLUMNS[file])
    owners, ranks = ids(file, batch, owner), integers(file, batch, rank)
    scores = column(file, batch, score, pa.types.is_floating).to_numpy(zero_copy_only=False)
    scores = scores.astype(np.float32, copy=False)
    _check(file, f"{score} of {owner}", owners, np.isfinite(scores), "is NaN or infinity")
    _check(file, f"{rank} of {owner}", owners, (ranks > 0) & (ranks <= _MOST_RANKS), "does not count from 1")
    return RankedBatch(owners, ids(file, batch, item), ranks.astype(np.int32), scores)


def _check(file: str, what: str, owners: pa.Array, holds: NDArray[np.bool_], fault: str) -> None:
    if not holds.all():
        raise BrokenRunError(f"{file}: {what} {owners[int(np.argmin(holds))]} {fault}.")


def _write(url: str, name: str, batches: Iterable[RankedBatch]) -> int:
    types = (pa.string(), pa.string(), pa.int32(), pa.float32())
    schema = pa.schema(list(zip(COLUMNS[name], types, strict=True)))
    rows = 0
    fs, root = url_to_fs(url)
    fs.makedirs(root, exist_ok=True)
    with (
        fs.open(posixpath.join(root, name), "wb") as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        for batch in batches:
            arrays = (batch.owners, batch.item_ids, pa.array(batch.ranks), pa.array(batch.scores))
            writer.write_batch(
                pa.record_batch(
                    [array.cast(kind) for array, kind in zip(arrays, types, strict=True)], schema=schema
                )
            )
            rows += len(batch)
    return rows
