"""What posts are, kept for some seconds: candidates are the same ones again and again.

What it says may be that old. Nothing is shown for it: `posts.visible_posts` reads SQL for what goes out.
"""

import threading
from collections.abc import Collection
from typing import Final

from cachetools import TTLCache
from sqlalchemy import Engine

from nearfeed_recommender.posts import facts_by_id
from nearfeed_recommender.providers.candidates import Facts
from nearfeed_runtime.sql import reading

_KEPT = 200_000
_SECONDS = 10.0
_GONE: Final = None


class FactsCache:
    """Facts by post, bounded; posts that are gone are known as such. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._facts: TTLCache[str, Facts | None] = TTLCache(_KEPT, _SECONDS)
        self._lock = threading.Lock()

    def of(self, ids: Collection[str]) -> dict[str, Facts]:
        """Those of the posts that stand in SQL."""
        missing: list[str] = []
        found: dict[str, Facts | None] = {}
        with self._lock:
            for item in ids:
                if item in self._facts:
                    found[item] = self._facts[item]
                else:
                    missing.append(item)
        if missing:
            found.update(self._load(missing))
        return {item: facts for item in ids if (facts := found.get(item)) is not None}

    def _load(self, ids: list[str]) -> dict[str, Facts | None]:
        with reading(self._engine) as connection:
            loaded = facts_by_id(connection, ids)
        known = {item: loaded.get(item, _GONE) for item in ids}
        with self._lock:
            self._facts.update(known)
        return known
