"""What is popular now: posts by the number of their users in a window.

Posts that were engaged with are counted again every few seconds, all posts every few minutes: what has left
the window, and likes that were taken back, are known then.
"""

import math
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection, Engine, func, select

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import interactions
from nearfeed_core.readings import DAY_MICROS
from nearfeed_recommender.catalog.columns import Columns, Rows
from nearfeed_runtime.sql import chunks, read_connection

_WHOLE_SECONDS = 300.0
_OVERLAP_MICROS = 30_000_000  # interactions come to SQL a little late
_MOST_CHANGED = 5_000
_KEPT_SECONDS = 3_600.0
DEFAULT_DAYS = 30.0


class Counted(NamedTuple):
    """Rows of the posts with users, those with the most first, and by row how many users (capacity)."""

    rows: Rows
    users: Rows


class Popularity:
    """The posts with the most users in windows of days; snapshots that `follow` renews."""

    def __init__(self, engine: Engine, columns: Columns) -> None:
        self._engine = engine
        self._columns = columns
        self._counted: dict[float, Counted] = {}
        self._counted_at: dict[float, float] = {}  # monotonic, in seconds
        self._asked_at: dict[float, float] = {}
        self._counting = threading.Lock()
        self._seen_until = 0  # microseconds since 1970

    def follow(self) -> None:
        """Counts what was engaged with since the last call, and windows that are due as a whole.

        A window that nobody has asked for within an hour is let go.
        """
        now, moment = now_micros(), time.monotonic()
        with read_connection(self._engine) as connection:
            changed = _changed_since(connection, self._seen_until - _OVERLAP_MICROS)
        with self._counting:
            for days in {DEFAULT_DAYS, *self._counted}:
                if days != DEFAULT_DAYS and moment - self._asked_at.get(days, moment) > _KEPT_SECONDS:
                    del self._counted[days], self._counted_at[days], self._asked_at[days]
                elif (
                    moment - self._counted_at.get(days, -math.inf) >= _WHOLE_SECONDS
                    or len(changed) > _MOST_CHANGED
                ):
                    self._count(days)
                elif changed:
                    self._count_again(days, changed)
        self._seen_until = now

    def ranked(self, days: float = DEFAULT_DAYS) -> Rows:
        """Rows of the posts with users in the window, those with the most first; of equals by id."""
        return self._window(days).rows

    def users_of(self, rows: Rows) -> Rows:
        """How many users each post (n) has had within 30 days."""
        users = self._window(DEFAULT_DAYS).users
        known = rows < len(users)
        return np.where(known, users[np.where(known, rows, 0)], 0)

    def _window(self, days: float) -> Counted:
        """The first request for a window counts it, and those that come meanwhile wait for that."""
        self._asked_at[days] = time.monotonic()
        counted = self._counted.get(days)
        if counted is None:
            with self._counting:
                counted = self._counted.get(days) or self._count(days)
        return counted

    def _count(self, days: float) -> Counted:
        self._counted_at[days] = time.monotonic()
        with read_connection(self._engine) as connection:
            return self._keep(days, np.zeros(0, np.int32), _users(connection, _start_of(days)))

    def _count_again(self, days: float, item_ids: Sequence[str]) -> None:
        users = self._counted[days].users.copy()
        known = self._columns.reserve(item_ids)
        users[known[known < len(users)]] = 0
        with read_connection(self._engine) as connection:
            counted = [
                pair for some in chunks(item_ids) for pair in _users(connection, _start_of(days), some)
            ]
        self._keep(days, users, counted)

    def _keep(self, days: float, before: Rows, counted: Sequence[tuple[str, int]]) -> Counted:
        rows = self._columns.reserve(item_id for item_id, _ in counted)
        users = np.zeros(max(len(self._columns.live), len(before), 1), np.int32)
        users[: len(before)] = before
        users[rows] = [count for _, count in counted]
        some = np.flatnonzero(users).astype(np.int32)
        ids = self._columns.ids
        names = np.array([ids[row] for row in some.tolist()], np.str_)
        order = some[np.lexsort((names, -users[some]))]
        self._counted[days] = found = Counted(order, users)
        return found


def _start_of(days: float) -> int:
    return now_micros() - int(days * DAY_MICROS)


def _changed_since(connection: Connection, since: int) -> Sequence[str]:
    query = select(interactions.c.item_id).where(interactions.c.newest_at >= since).distinct()
    return connection.scalars(query.limit(_MOST_CHANGED + 1)).all()


def _users(
    connection: Connection, since: int, item_ids: Sequence[str] | None = None
) -> list[tuple[str, int]]:
    """Of all posts, or of some, those with users since then, and how many."""
    own = [] if item_ids is None else [interactions.c.item_id.in_(item_ids)]
    query = (
        select(interactions.c.item_id, func.count())
        .where(interactions.c.newest_at >= since, *own)
        .group_by(interactions.c.item_id)
    )
    return [(row[0], row[1]) for row in connection.execute(query)]
