"""The seam between an import and where its rows come from: a file, or a query of an app's database."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from nearfeed_standalone.importing.state import State


class RawRow(NamedTuple):
    """A row as its source has it, or why it is none.

    `place` tells the operator which row it is: the line where it begins (in Parquet: its number), or its
    key. `position` is how much has been read behind it, `key` what a query goes on after.
    """

    place: dict[str, Any]
    position: int
    values: dict[str, Any]
    fault: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class Rows:
    """An open source. `columns` are those that all rows have; `total` is in rows or bytes."""

    columns: tuple[str, ...]
    total: int
    unit: str
    rows: Iterator[RawRow]


class Source(Protocol):
    """Rows in an order that stays the same, so that an import can go on where it was broken off."""

    @property
    def name(self) -> str:
        """What the operator knows it by."""
        ...

    @property
    def identity(self) -> str:
        """What its state is kept under: 64 characters."""
        ...

    @property
    def grows(self) -> bool:
        """Whether there may be more rows after the last, so that a finished import goes on."""
        ...

    def open(self, done: State) -> AbstractContextManager[Rows]:
        """The rows after those that are done."""
        ...
