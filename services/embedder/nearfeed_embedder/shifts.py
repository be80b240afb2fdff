"""What readers add to a post's vector, so that an edited post keeps it.

A shift is what was trained of a post, less what the same post would have if it were new. The vector of an
edited post is that of a new post, moved by its shift: without a change it is the trained one.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from numpy.typing import NDArray

FILE = "shifts.parquet"
_ROWS_TOGETHER = 512
Vectors = NDArray[np.float32]


def save_shifts(url: str, item_ids: Sequence[str], shifts: Vectors) -> None:
    """Writes those (n, dim) that are not 0, in the order of ids."""
    rows = [row for row in np.argsort(np.array(item_ids, dtype=object)) if shifts[row].any()]
    flat = pa.array(shifts[rows].reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(flat, shifts.shape[1])
    table = pa.table({"item_id": pa.array([item_ids[row] for row in rows], pa.string()), "shift": column})
    fs, path = url_to_fs(f"{url}/{FILE}")
    with fs.open(path, "wb") as file:
        pq.write_table(table, file, row_group_size=_ROWS_TOGETHER, compression="zstd", use_dictionary=False)


def read_shifts(url: str, item_ids: Sequence[str], dim: int) -> Vectors:
    """The shifts (n, dim) that are stored of posts; 0 for others."""
    fs, path = url_to_fs(f"{url}/{FILE}")
    table = pq.read_table(path, filesystem=fs, filters=[("item_id", "in", list(item_ids))])
    stored = table.column("shift").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    found = dict(zip(table.column("item_id").to_pylist(), stored.reshape(-1, dim), strict=True))
    shifts = np.zeros((len(item_ids), dim), np.float32)
    for row, item_id in zip(shifts, item_ids, strict=True):
        row[:] = found.get(item_id, 0)
    return shifts
