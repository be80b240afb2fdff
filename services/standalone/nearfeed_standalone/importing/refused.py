"""The file of refused rows: one JSON object a line with the row's `line` or `key`, and the `reason`."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson


class Refusal(NamedTuple):
    place: dict[str, Any]
    reason: str


class RefusedRows:
    """Written in step with the import: what is put is on disk when `put` returns.

    What is put again before `note` takes the place of what was put before.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._noted = file.tell()

    def put(self, refusals: Sequence[Refusal]) -> None:
        self._file.seek(self._noted)
        self._file.truncate()
        for refusal in refusals:
            told = {**refusal.place, "reason": refusal.reason}
            self._file.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
        self._file.flush()
        os.fsync(self._file.fileno())

    def note(self) -> None:
        """The rows that were put are noted as done."""
        self._noted = self._file.tell()


@contextmanager
def refused_rows(path: Path, *, keep: int) -> Iterator[RefusedRows]:
    """Opens the file behind its first `keep` refusals and cuts off what follows them.

    What follows belongs to rows that were not noted as done, and will be read again. A file without
    refusals is removed at the end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    try:
        with path.open("r+b") as file:
            for _ in range(keep):
                file.readline()
            file.truncate(file.tell())
            yield RefusedRows(file)
    finally:
        if not path.stat().st_size:
            path.unlink()
