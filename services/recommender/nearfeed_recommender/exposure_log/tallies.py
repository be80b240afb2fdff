"""How many sections of answers a process has noted for the ledger, in a file that outlives it.

What a process has counted in memory that a file is mapped to stands in the file however it ends; only the end
of the machine may take it. So the next process can say how much of the ledger went with one that was killed.
"""

import fcntl
import mmap
import secrets
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_COUNTS = struct.Struct("<qq")  # noted, settled
_SUFFIX = ".tally"


class Tally:
    """The counts of this process, thread-safe; `waiting` sections have been noted before.

    Raises OSError where the folder cannot be written.
    """

    def __init__(self, folder: Path, waiting: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{secrets.token_hex(8)}{_SUFFIX}"
        self._file = self._path.open("x+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.truncate(_COUNTS.size)
        self._map = mmap.mmap(self._file.fileno(), _COUNTS.size)
        self._changing = threading.Lock()
        self._noted, self._settled = 0, 0
        self._count(noted=waiting)

    def noted(self) -> None:
        """One more section is to be written."""
        self._count(noted=1)

    def settled(self, sections: int) -> None:
        """So many were written, or counted as lost."""
        self._count(settled=sections)

    def close(self) -> None:
        """Leaves the file to be found where something is not settled."""
        with self._changing:
            if self._noted == self._settled:
                self._path.unlink()
            self._map.close()
            self._file.close()

    def _count(self, noted: int = 0, settled: int = 0) -> None:
        with self._changing:
            self._noted += noted
            self._settled += settled
            if not self._map.closed:
                _COUNTS.pack_into(self._map, 0, self._noted, self._settled)


class Abandoned(NamedTuple):
    """The tally of a process that has ended, with how many sections it left; `path` may be removed."""

    path: Path
    process: str
    sections: int


def abandoned(folder: Path) -> Iterator[Abandoned]:
    """The tallies that no process holds any more; each stays held until the next is asked for."""
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        with path.open("r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            counts = file.read(_COUNTS.size)
            if len(counts) == _COUNTS.size:  # a shorter one is being made
                noted, settled = _COUNTS.unpack(counts)
                yield Abandoned(path, path.stem, noted - settled)
