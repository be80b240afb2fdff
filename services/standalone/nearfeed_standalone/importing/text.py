"""Rows of CSV and JSON lines files in UTF-8, a line at a time."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import orjson

from nearfeed_standalone.importing.files import UnreadableFileError
from nearfeed_standalone.importing.source import RawRow, Rows

LONGEST_LINE = 4 << 20
_BYTE_ORDER_MARK = "\ufeff"


class _Lines:
    """The lines of a file, and how far they have been read. Raises UnreadableFileError."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        self.number = 0
        self.position = 0

    def __iter__(self) -> Iterator[str]:
        while raw := self._file.readline(LONGEST_LINE):
            self.number += 1
            self.position += len(raw)
            if len(raw) == LONGEST_LINE:
                raise self.unreadable("the line is longer than 4 MiB")
            yield self._decoded(raw)

    def unreadable(self, fault: str, *, line: int | None = None) -> UnreadableFileError:
        return UnreadableFileError(self._path, fault, line=line or self.number)

    def _decoded(self, raw: bytes) -> str:
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            fault = f"byte {error.start + 1} is not UTF-8; convert the file to UTF-8"
            raise self.unreadable(fault) from None
        return text.removeprefix(_BYTE_ORDER_MARK) if self.number == 1 else text


@contextmanager
def open_csv(path: Path) -> Iterator[Rows]:
    """Comma-separated with a header; quotes as in RFC 4180. `total` and `position` count bytes."""
    csv.field_size_limit(LONGEST_LINE)
    with path.open("rb") as file:
        lines = _Lines(path, file)
        cells = _cells(lines)
        header = next(cells, (1, []))[1]
        columns = tuple(name.strip() for name in header)
        twice = next((name for name in columns if columns.count(name) > 1), None)
        if twice is not None:
            raise lines.unreadable(f"the header names the column {twice!r} twice")
        yield Rows(columns, path.stat().st_size, "bytes", _csv_rows(lines, columns, cells))


def _csv_rows(
    lines: _Lines, columns: tuple[str, ...], cells: Iterator[tuple[int, list[str]]]
) -> Iterator[RawRow]:
    for line, row in cells:
        fault = None
        if len(row) != len(columns):
            fault = f"the row has {len(row)} fields, the header {len(columns)}"
        yield RawRow({"line": line}, lines.position, dict(zip(columns, row, strict=False)), fault)


def _cells(lines: _Lines) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with the line where each begins."""
    reader = csv.reader(iter(lines), strict=True)
    while True:
        line = lines.number + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise lines.unreadable(f"cannot be read as CSV ({error})", line=line) from None
        if row is None:
            return
        if row:
            yield line, row


@contextmanager
def open_json_lines(path: Path) -> Iterator[Rows]:
    """One JSON object a line; blank lines are passed over. `total` and `position` count bytes."""
    with path.open("rb") as file:
        yield Rows((), path.stat().st_size, "bytes", _json_rows(_Lines(path, file)))


def _json_rows(lines: _Lines) -> Iterator[RawRow]:
    for text in lines:
        if not text.strip():
            continue
        try:
            values = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            fault = f"is no JSON: {error.msg} at column {error.colno}"
            yield RawRow({"line": lines.number}, lines.position, {}, fault)
            continue
        if isinstance(values, dict):
            yield RawRow({"line": lines.number}, lines.position, values)
        else:
            yield RawRow({"line": lines.number}, lines.position, {}, "is no JSON object")
