"""What is loaded by key, kept for a while: candidates are the same posts again and again."""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, TypeVar

V = TypeVar("V")
Load = Callable[[Sequence[str]], Mapping[str, V]]


class Kept(Generic[V]):
    """Values by key, for `seconds` up to twice that; a key without a value is asked for anew. Thread-safe.

    Two generations of up to `most` keys each: the older one goes when the younger is full or old enough.
    """

    def __init__(self, load: Load[V], *, seconds: float, most: int) -> None:
        self._load, self._seconds, self._most = load, seconds, most
        self._young: dict[str, V] = {}
        self._old: dict[str, V] = {}
        self._turned = time.monotonic()
        self._turning = threading.Lock()

    def of(self, keys: Collection[str]) -> dict[str, V]:
        """The values of those keys that have one."""
        self._turn_if_due()
        young, old = self._young, self._old
        missing = [key for key in keys if key not in young and key not in old]
        if missing:
            young.update(self._load(missing))
        return {key: young[key] if key in young else old[key] for key in keys if key in young or key in old}

    def _turn_if_due(self) -> None:
        if time.monotonic() - self._turned < self._seconds and len(self._young) < self._most:
            return
        with self._turning:
            if time.monotonic() - self._turned >= self._seconds or len(self._young) >= self._most:
                self._young, self._old, self._turned = {}, self._young, time.monotonic()
