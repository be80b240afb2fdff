"""The file of refused rows: one JSON object a line with the row's `line` and the `reason`."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import orjson


class Refusal(NamedTuple):
    line: int
    reason: str


class RefusedRows:
    """Written in step with the import: what is added is on disk when `add` returns."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, refusals: Sequence[Refusal]) -> None:
        if not refusals:
            return
        for refusal in refusals:
            self._file.write(orjson.dumps(refusal._asdict(), option=orjson.OPT_APPEND_NEWLINE))
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def refused_rows(path: Path, *, keep: int) -> Iterator[RefusedRows]:
    """Opens the file behind its first `keep` refusals and cuts off what follows them.

    What follows belongs to rows that were not noted as done, and will be read again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    with path.open("r+b") as file:
        for _ in range(keep):
            file.readline()
        file.truncate(file.tell())
        yield RefusedRows(file)
    if not path.stat().st_size:
        path.unlink()
