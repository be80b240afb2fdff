"""Ids and the numbers that nodes have in a graph."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.uint32]


class Index(NamedTuple):
    """`hashes` (nodes) of ids, in rising order, and the number of the node of each."""

    hashes: Hashes
    numbers: Numbers


class Names(NamedTuple):
    """The id of node n is the UTF-8 of `text[starts[n] : starts[n + 1]]`."""

    text: NDArray[np.uint8]
    starts: NDArray[np.int64]


def hashes_of(ids: Iterable[str]) -> Hashes:
    """64 bits of BLAKE2b of each id: two of a billion ids have the same with a chance of 3 %."""
    digests = b"".join(blake2b(one.encode(), digest_size=8).digest() for one in ids)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def index_of(hashes: Hashes) -> Index:
    """Of nodes that are numbered in the order of these. Raises ValueError where two are the same."""
    order = np.argsort(hashes)
    index = Index(hashes[order], order.astype(np.uint32))
    if len(hashes) > 1 and not (index.hashes[1:] > index.hashes[:-1]).all():
        raise ValueError("two ids of a graph are the same, or have the same hash")
    return index


def names_of(ids: Sequence[str]) -> Names:
    encoded = [one.encode() for one in ids]
    starts = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    return Names(np.frombuffer(b"".join(encoded), np.uint8), starts)


def name_of(names: Names, number: int) -> str:
    """The id of a node."""
    return names.text[names.starts[number] : names.starts[number + 1]].tobytes().decode()


class Registry:
    """The nodes of one kind: those of an index, then those that were met later, in the order of meeting.

    Numbers are never changed. `find` may be called while another thread calls `number`; only one may
    call that at a time.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._later: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._index.hashes) + len(self._later)

    def find(self, hashes: Hashes) -> NDArray[np.int64]:
        """The number of each (n), -1 where there is none."""
        known = self._index.hashes
        if not len(known):
            return np.array([self._later.get(one, -1) for one in hashes.tolist()], np.int64)
        places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        found = np.where(known[places] == hashes, self._index.numbers[places].astype(np.int64), -1)
        for row in np.flatnonzero(found < 0) if self._later else ():
            found[row] = self._later.get(int(hashes[row]), -1)
        return found

    def number(self, hashes: Hashes) -> tuple[NDArray[np.int64], list[int]]:
        """The number of each (n), and the rows in which a new one was given."""
        found, new = self.find(hashes), []
        for row in np.flatnonzero(found < 0).tolist():
            one = int(hashes[row])
            if one not in self._later:
                self._later[one] = len(self)
                new.append(row)
            found[row] = self._later[one]
        return found, new
