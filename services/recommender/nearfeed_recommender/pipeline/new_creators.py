"""Posts of authors with few posts, by how often they were shown; counted again at intervals."""

from typing import NamedTuple

import numpy as np
from sqlalchemy import Engine, func, select

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import served_items
from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender.catalog.columns import Columns, Rows
from nearfeed_recommender.config.schema import NewcomersSource
from nearfeed_runtime.sql import chunks, read_connection

_KEPT = 5_000


class Shown(NamedTuple):
    """Rows of posts, the least shown first, and how often each was shown (n)."""

    rows: Rows
    times: Rows


class NewCreators:
    """The newest posts of authors with few posts; snapshots that `refresh` renews."""

    def __init__(self, engine: Engine, columns: Columns) -> None:
        self._engine, self._columns = engine, columns
        self._counted: dict[tuple[float, int], Shown] = {}

    def refresh(self) -> None:
        """Counts for every window and number of posts that was asked for."""
        for hours, posts in list(self._counted):
            self._count(hours, posts)

    def ranked(self, source: NewcomersSource) -> Rows:
        """Rows of the posts that want to be shown, the least shown first, then the newest."""
        key = (source.hours, source.posts)
        shown = self._counted[key] if key in self._counted else self._count(*key)
        return shown.rows[shown.times < source.exposures]

    def _count(self, hours: float, posts: int) -> Shown:
        columns = self._columns
        newest = columns.newest_first()
        authors = columns.author[newest]
        recent = columns.published_at[newest] >= now_micros() - int(hours * HOUR_MICROS)
        rows = newest[recent & (np.bincount(authors)[authors] <= posts)][:_KEPT]
        times = self._times_shown(rows)
        order = np.lexsort((-columns.published_at[rows], times))
        self._counted[hours, posts] = shown = Shown(rows[order], times[order])
        return shown

    def _times_shown(self, rows: Rows) -> Rows:
        ids = self._columns.ids
        counts: dict[str, int] = {}
        with read_connection(self._engine) as connection:
            for chunk in chunks([ids[row] for row in rows.tolist()]):
                query = (
                    select(served_items.c.item_id, func.count())
                    .where(served_items.c.item_id.in_(chunk))
                    .group_by(served_items.c.item_id)
                )
                counts |= {row[0]: row[1] for row in connection.execute(query)}
        return np.array([counts.get(ids[row], 0) for row in rows.tolist()], np.int32)
