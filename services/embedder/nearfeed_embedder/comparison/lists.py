"""Splits that are given as files: a line is a reader, then the items, with blanks between."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from nearfeed_contracts.errors import NearfeedError
from nearfeed_embedder.evaluation.split import Split, matrix_of

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Part = Literal["valid", "test"]
Mask = Literal["train", "train+valid"]


PARTS = ("train", "valid", "test")


class SplitFileError(NearfeedError):
    """A split file that cannot be used; the text names the file and the line."""


@dataclass(frozen=True)
class Lists:
    """Matrices (readers, items) of 1; ids are in the order of rows and columns."""

    reader_ids: list[str]
    item_ids: list[str]
    train: "csr_matrix"
    valid: "csr_matrix"
    test: "csr_matrix"

    def split(self, on: Part = "test", mask: Mask = "train", texts: list[str] | None = None) -> Split:
        """Readers are described by `train` and scored `on` one of the others.

        `mask="train"` is what the published figures of such splits do: on test, what is in valid is
        ranked and is no target. On valid, `train` alone is masked.
        """
        both = mask == "train+valid" and on == "test"
        masked = self.train.maximum(self.valid) if both else self.train
        targets = self.test if on == "test" else self.valid
        return Split(
            item_ids=self.item_ids,
            train=self.train,
            history=self.train,
            masked=masked,
            targets=targets,
            candidates=np.ones(len(self.item_ids), np.bool_),
            told=self._sentences(on, both),
            texts=texts,
            reader_ids=self.reader_ids,
        )

    def _sentences(self, on: Part, both: bool) -> tuple[str, ...]:
        targets = self.test if on == "test" else self.valid
        n_readers = int((np.diff(targets.indptr) > 0).sum())
        masked = "a reader's items in train and valid" if both else "a reader's items in train"
        left = " (those in valid are ranked, and are no hits)" if on == "test" and not both else ""
        return (
            f"Given lists: {self.train.nnz} items of {self.train.shape[0]} readers to learn from, "
            f"{targets.nnz} of {n_readers} readers to find in {on}.",
            "Readers are described by all of their items in train, each of weight 1.",
            f"Masked: {masked}{left}. All of {len(self.item_ids)} items are ranked.",
        )


def read_lists(train: Path, valid: Path, test: Path) -> Lists:
    """Reads three files. Raises SplitFileError.

    Items that are in any of them are ranked; ids that are numbers are ordered as numbers.
    """
    parts = [_read(path) for path in (train, valid, test)]
    readers = _ordered({reader for part in parts for reader in part})
    items = _ordered({item for part in parts for listed in part.values() for item in listed})
    row = {reader: number for number, reader in enumerate(readers)}
    column = {item: number for number, item in enumerate(items)}
    matrices = [_matrix(part, row, column) for part in parts]
    for name, path, matrix in zip(PARTS[1:], (valid, test), matrices[1:], strict=True):
        twice = int(matrices[0].multiply(matrix).nnz)
        if twice:
            raise SplitFileError(
                f"{path} holds {twice} items that their readers have in {train} too: "
                f"take them out of {name}, as nothing that is learned from can be found."
            )
    return Lists(readers, items, *matrices)


def _read(path: Path) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if reader_and_items := line.split():
                    _take(lists, reader_and_items, path, number)
    except (OSError, UnicodeDecodeError) as error:
        raise SplitFileError(f"{path} cannot be read as a split file: {error}.") from None
    return lists


def _take(lists: dict[str, list[str]], line: list[str], path: Path, number: int) -> None:
    reader, items = line[0], line[1:]
    if reader in lists:
        raise SplitFileError(
            f"{path}, line {number}: reader {reader} has had a line; put all their items in one."
        )
    if len(set(items)) < len(items):
        twice = next(item for item in items if items.count(item) > 1)
        raise SplitFileError(f"{path}, line {number}: item {twice} is named twice; name it once.")
    lists[reader] = items


def _ordered(ids: set[str]) -> list[str]:
    numbers = all(text.isascii() and text.isdecimal() for text in ids)
    return sorted(ids, key=lambda text: (int(text), text)) if numbers else sorted(ids)


def _matrix(lists: dict[str, list[str]], row: dict[str, int], column: dict[str, int]) -> "csr_matrix":
    rows = np.repeat([row[reader] for reader in lists], [len(items) for items in lists.values()])
    columns = [column[item] for items in lists.values() for item in items]
    return matrix_of(rows.astype(np.intp), np.array(columns, np.intp), (len(row), len(column)))
