"""A file of rows as a source, opened by its suffix."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from nearfeed_standalone.importing.files import UnreadableFileError, check_file, hash_of
from nearfeed_standalone.importing.parquet import open_parquet
from nearfeed_standalone.importing.source import RawRow, Rows
from nearfeed_standalone.importing.state import State
from nearfeed_standalone.importing.text import open_csv, open_json_lines

_OPENERS: dict[str, Callable[[Path], AbstractContextManager[Rows]]] = {
    ".parquet": open_parquet,
    ".csv": open_csv,
    ".jsonl": open_json_lines,
    ".ndjson": open_json_lines,
}
_EACH_ROW_NAMES_ITS_OWN = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class FileSource:
    """A file, which is known by its content."""

    path: Path
    identity: str
    required: tuple[str, ...]
    grows: bool = False

    @property
    def name(self) -> str:
        return self.path.name

    @contextmanager
    def open(self, done: State) -> Iterator[Rows]:
        """Raises UnreadableFileError, also while rows are read."""
        with open_rows(self.path) as rows:
            self._check_columns(rows.columns)
            yield replace(rows, rows=self._after(rows.rows, done.rows_done))

    def _after(self, rows: Iterator[RawRow], skip: int) -> Iterator[RawRow]:
        read = sum(1 for _ in islice(rows, skip))
        for row in rows:
            read += 1
            yield row
        if not read:
            raise UnreadableFileError(self.path, "the file has no rows")

    def _check_columns(self, columns: tuple[str, ...]) -> None:
        missing = next((name for name in self.required if name not in columns), None)
        if missing and self.path.suffix.lower() not in _EACH_ROW_NAMES_ITS_OWN:
            fault = f"the column {missing} is missing; the columns are {', '.join(columns) or 'none'}"
            raise UnreadableFileError(self.path, fault)


def file_source(path: Path, required: tuple[str, ...]) -> FileSource:
    """Raises UnreadableFileError."""
    check_file(path)
    _check_suffix(path)
    return FileSource(path, hash_of(path), required)


def open_rows(path: Path) -> AbstractContextManager[Rows]:
    """Raises UnreadableFileError, also while rows are read."""
    check_file(path)
    _check_suffix(path)
    return _OPENERS[path.suffix.lower()](path)


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in _OPENERS:
        raise UnreadableFileError(path, "the suffix must be .parquet, .csv or .jsonl")
