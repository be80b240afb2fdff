"""The keys that hold, as this process last saw them: no call asks SQL for its key."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Engine

from nearfeed_contracts.fields import now_micros
from nearfeed_recommender.access.keys.rows import (
    LIVE,
    Key,
    has_keys,
    is_live,
    is_secret_of,
    keys_where,
    split_key,
)
from nearfeed_runtime.sql import read_connection


@dataclass(frozen=True)
class Snapshot:
    """The keys that were live, by id; `guarded`: there ever was one."""

    guarded: bool = False
    by_id: Mapping[str, Key] = field(default_factory=dict)


class LiveKeys:
    """Any thread may read what holds, and any may look anew."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._current = Snapshot()
        self._refreshing = threading.Lock()

    @property
    def current(self) -> Snapshot:
        return self._current

    def refresh(self) -> None:
        """Looks for what has changed. While SQL does not answer, what held goes on to hold."""
        with self._refreshing, read_connection(self._engine) as connection:
            live = keys_where(connection, is_live(now_micros()))
            guarded = bool(live) or has_keys(connection)
        self._current = Snapshot(guarded, {key.key_id: key for key in live})


def find_key(snapshot: Snapshot, text: str) -> Key | None:
    """The key of a text; None for one that is unknown, or has expired by this machine's clock."""
    parts = split_key(text)
    key = snapshot.by_id.get(parts[0]) if parts else None
    if parts is None or key is None or not is_secret_of(parts[1], key.key_hash):
        return None
    return key if key.state(now_micros()) == LIVE else None
