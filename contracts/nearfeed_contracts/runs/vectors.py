"""vectors.parquet, written and read."""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from numpy.typing import NDArray

from nearfeed_contracts.runs.columns import check_names, column, ids, integers
from nearfeed_contracts.runs.manifest import COLUMNS, VECTORS, BrokenRunError


@dataclass(frozen=True)
class VectorBatch:
    """Rows of vectors.parquet: ids (n), vectors and contexts (n, dim) float32, versions (n) or None."""

    item_ids: list[str]
    vectors: NDArray[np.float32]
    contexts: NDArray[np.float32]
    versions: NDArray[np.int64] | None


def write_vectors(
    url: str,
    item_ids: list[str],
    vectors: NDArray[np.float32],
    *,
    contexts: NDArray[np.float32] | None = None,
    versions: Iterable[int] | None = None,
) -> None:
    """Writes vectors.parquet; vectors and contexts are (n, dim) float32."""
    columns: dict[str, pa.Array] = {
        "item_id": pa.array(item_ids, pa.string()),
        "vector": _fixed_list(vectors),
    }
    if contexts is not None:
        columns["context"] = _fixed_list(contexts)
    if versions is not None:
        columns["version"] = pa.array(list(versions), pa.int64())
    fs, root = url_to_fs(url)
    fs.makedirs(root, exist_ok=True)
    with fs.open(posixpath.join(root, VECTORS), "wb") as file:
        pq.write_table(pa.table(columns), file, compression="zstd")


def vector_batch(batch: pa.RecordBatch, dim: int) -> VectorBatch:
    """Rows that have been checked. Raises BrokenRunError."""
    check_names(VECTORS, batch, COLUMNS[VECTORS])
    vectors = _matrix(batch, "vector", dim)
    contexts = _matrix(batch, "context", dim) if "context" in batch.schema.names else vectors
    versions = integers(VECTORS, batch, "version") if "version" in batch.schema.names else None
    return VectorBatch(ids(VECTORS, batch, "item_id").to_pylist(), vectors, contexts, versions)


def _fixed_list(matrix: NDArray[np.float32]) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(matrix, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


def _is_vector(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(fits(kind) for fits in lists) and pa.types.is_floating(kind.value_type)


def _matrix(batch: pa.RecordBatch, name: str, dim: int) -> NDArray[np.float32]:
    found = column(VECTORS, batch, name, _is_vector)
    flat = found.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    if not pc.all(pc.equal(pc.list_value_length(found), dim)).as_py():
        raise BrokenRunError(f"{VECTORS}: column {name} holds vectors that have not {dim} dimensions.")
    if not np.isfinite(flat).all():
        row = int(np.flatnonzero(~np.isfinite(flat))[0]) // dim
        raise BrokenRunError(f"{VECTORS}: {name} of item {batch['item_id'][row]} holds NaN or infinity.")
    return np.asarray(flat.reshape(len(found), dim), dtype=np.float32)
