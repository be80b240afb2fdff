"""Rows of a Parquet file, one batch of a row group at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nearfeed_standalone.importing.files import UnreadableFileError
from nearfeed_standalone.importing.source import RawRow, Rows

_BATCH = 1_000
_CHECKED = 10_000


@contextmanager
def open_parquet(path: Path) -> Iterator[Rows]:
    """A row's line is its number, from 1; `total` and `position` count rows.

    All of the file is read once before its first row is given, so that of one that is damaged nothing is
    taken in; where its writer has put checksums, they are compared.
    """
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    with file:
        _check(path, file)
        columns = tuple(file.schema_arrow.names)
        yield Rows(columns, file.metadata.num_rows, "rows", _rows(path, file))


def _check(path: Path, file: Any) -> None:
    number = 0
    try:
        for batch in file.iter_batches(batch_size=_CHECKED):
            number += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error, after=number) from None


def _rows(path: Path, file: Any) -> Iterator[RawRow]:
    number = 0
    try:
        for batch in file.iter_batches(batch_size=_BATCH):
            for values in _in_microseconds(batch).to_pylist():
                number += 1
                yield RawRow({"line": number}, number, values)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error, after=number) from None


def _in_microseconds(batch: Any) -> Any:
    """Python's times know no nanoseconds."""
    columns = [
        column.cast(pa.timestamp("us", column.type.tz), safe=False)
        if pa.types.is_timestamp(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _unreadable(path: Path, error: Exception, *, after: int = 0) -> UnreadableFileError:
    cause = str(error).splitlines()[0].rstrip(". ") if str(error) else type(error).__name__
    where = f" after row {after}" if after else ""
    return UnreadableFileError(path, f"cannot be read as Parquet{where} ({cause}); write the file anew")
