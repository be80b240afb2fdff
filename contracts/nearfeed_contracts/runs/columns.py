"""What the columns of a run's Parquet files must be, whoever has written them."""

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nearfeed_contracts.runs.manifest import BrokenRunError

Fits = Callable[[pa.DataType], bool]


def check_names(file: str, batch: pa.RecordBatch, names: Iterable[str]) -> None:
    """Raises BrokenRunError where a column is missing."""
    for name in names:
        if name not in batch.schema.names:
            raise BrokenRunError(f"{file} lacks the column {name}.")


def column(file: str, batch: pa.RecordBatch, name: str, *types: Fits) -> pa.Array:
    """A column of one of the types. Raises BrokenRunError on another, and on a null."""
    found = batch[name]
    if not any(fits(found.type) for fits in types):
        raise BrokenRunError(f"{file}: column {name} cannot be of type {found.type}.")
    if found.null_count:
        raise BrokenRunError(f"{file}: column {name} holds a null.")
    return found


def ids(file: str, batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column of ids. Raises BrokenRunError."""
    return column(file, batch, name, pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def integers(file: str, batch: pa.RecordBatch, name: str) -> NDArray[np.int64]:
    """A column of whole numbers. Raises BrokenRunError."""
    found = column(file, batch, name, pa.types.is_integer).to_numpy(zero_copy_only=False)
    return np.asarray(found, np.int64)
