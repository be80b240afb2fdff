"""Opens a file of rows by its suffix."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from nearfeed_standalone.importing.files import Rows, UnreadableFileError, check_file
from nearfeed_standalone.importing.parquet import open_parquet
from nearfeed_standalone.importing.text import open_csv, open_json_lines

_OPENERS: dict[str, Callable[[Path], AbstractContextManager[Rows]]] = {
    ".parquet": open_parquet,
    ".csv": open_csv,
    ".jsonl": open_json_lines,
    ".ndjson": open_json_lines,
}


def open_rows(path: Path) -> AbstractContextManager[Rows]:
    """Raises UnreadableFileError, also while rows are read."""
    check_file(path)
    if path.suffix.lower() not in _OPENERS:
        raise UnreadableFileError(path, "the suffix must be .parquet, .csv or .jsonl")
    return _OPENERS[path.suffix.lower()](path)
