"""Dictionary encoding of names (ids of posts, communities or authors), with translated sets cached."""

import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]

# A lookup costs some 50 ns a name, so sets up to this size are translated each time.
_CACHED_FROM = 16
_MOST_SETS = 256
_MOST_NAMES = 4_000_000


class _Translation(NamedTuple):
    """The ascending codes of a set among the first `known` names."""

    known: int
    codes: Codes


class NameCodes:
    """Names numbered from 0 in the order of their arrival; a number is never used again.

    One thread at a time may call `code_of`, any number of threads the other methods.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._codes: dict[str, int] = {}
        self._lock = threading.Lock()
        self._translations: OrderedDict[frozenset[str], _Translation] = OrderedDict()
        self._cached_names = 0

    def __len__(self) -> int:
        return len(self.names)

    def code_of(self, name: str) -> int:
        """The code of a name, which gets one if it has none."""
        code = self._codes.get(name)
        if code is None:
            code = len(self.names)
            self.names.append(name)
            self._codes[name] = code
        return code

    def find(self, name: str) -> int | None:
        return self._codes.get(name)

    def codes_among(self, wanted: frozenset[str], known: int) -> Codes:
        """The ascending codes below `known` of those names that have one.

        Large sets are kept with their codes. As a code never changes, only names that have come since are
        compared with a kept set.
        """
        if len(wanted) <= _CACHED_FROM:
            return self._translate(wanted, known)
        with self._lock:
            found = self._translations.get(wanted)
            if found is not None:
                self._translations.move_to_end(wanted)
        if found is None or found.known < known:
            found = self._continued(wanted, found)
            self._keep(wanted, found)
        if found.known == known:
            return found.codes
        return found.codes[: np.searchsorted(found.codes, known)]

    def _continued(self, wanted: frozenset[str], found: _Translation | None) -> _Translation:
        known = len(self.names)
        if found is None:
            return _Translation(known, self._translate(wanted, known))
        since = [code for code in range(found.known, known) if self.names[code] in wanted]
        if not since:
            return _Translation(known, found.codes)
        return _Translation(known, np.concatenate([found.codes, np.array(since, np.int32)]))

    def _translate(self, wanted: frozenset[str], known: int) -> Codes:
        codes = np.array([code for code in map(self._codes.get, wanted) if code is not None], np.int32)
        codes = codes[codes < known]
        codes.sort()
        return codes

    def _keep(self, wanted: frozenset[str], found: _Translation) -> None:
        """Keeps the sets that were used last, up to a number of sets and of names in them."""
        with self._lock:
            if wanted not in self._translations:
                self._cached_names += len(wanted)
            self._translations[wanted] = found
            self._translations.move_to_end(wanted)
            while len(self._translations) > 1 and (
                len(self._translations) > _MOST_SETS or self._cached_names > _MOST_NAMES
            ):
                oldest, _ = self._translations.popitem(last=False)
                self._cached_names -= len(oldest)
