"""The newest interactions of many users that count, read in few statements and as arrays."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, repeat

import numpy as np
from sqlalchemy import Connection

from nearfeed_contracts.events import KINDS
from nearfeed_core.engagements import Values, engagements_of
from nearfeed_core.readings import EXCLUDING
from nearfeed_recommender.catalog.columns import Columns, Rows
from nearfeed_recommender.users.reset_marks import LONG_AGO, resets
from nearfeed_runtime.sql import chunks, rows_of_driver

_USERS_PER_STATEMENT = 50
# A row that counts has no time of an excluding kind, whatever a reset leaves of it.
_PLACES = [place for place, kind in enumerate(KINDS) if kind not in EXCLUDING]


@dataclass(frozen=True)
class NewestInteractions:
    """Of one user, the newest first; of equals in the order of the posts' ids.

    `rows` (n) are those of the posts in the columns, `counting` (n, kinds) the times that count. `whole`
    says that there are no older ones.
    """

    rows: Rows
    counting: Values
    whole: bool


def newest_interactions(
    connection: Connection, columns: Columns, user_ids: Sequence[str], most: int
) -> Iterator[tuple[str, NewestInteractions]]:
    """Each user with up to `most` of their newest interactions that count and are later than their reset."""
    for chunk in chunks(user_ids, _USERS_PER_STATEMENT):
        reset_at = resets(connection, chunk)
        after = [reset_at.get(user_id, LONG_AGO) for user_id in chunk]
        asked = chain.from_iterable(zip(chunk, after, repeat(most)))
        statement = _statement(connection.dialect.name, len(chunk))
        values = list(chain.from_iterable(rows_of_driver(connection, statement, tuple(asked))))
        users, ids, *times = (values[place :: 2 + len(_PLACES)] for place in range(2 + len(_PLACES)))
        owners = np.array(users, np.intp)
        rows = columns.reserve(ids)
        counting = _counting(times, np.array(after, np.float64)[owners])
        for place, user_id in enumerate(chunk):
            own = slice(*np.searchsorted(owners, (place, place + 1)))
            yield user_id, _ordered(columns, rows[own], counting[own], most)


def _counting(columns: Iterable[Sequence[int | None]], after: Values) -> Values:
    """The times (n, kinds) that count of columns (n each) that are later than those of `after` (n)."""
    times = np.full((len(after), len(KINDS)), np.nan)
    for place, column in zip(_PLACES, columns, strict=True):
        known = np.array(column, np.float64)
        times[:, place] = np.where(known > after, known, np.nan)
    return engagements_of(times, np.full(len(after), np.nan)).counting


def _ordered(columns: Columns, rows: Rows, counting: Values, most: int) -> NewestInteractions:
    whole = len(rows) < most
    newest = np.fmax.reduce(counting, axis=1, initial=np.nan)
    if not whole:
        # Others of the oldest time may have been left out.
        later = newest > newest[-1]
        rows, counting, newest = rows[later], counting[later], newest[later]
    if (newest[1:] == newest[:-1]).any():
        ids = np.array([columns.ids[row] for row in rows.tolist()])
        order = np.lexsort((ids, -newest))
        rows, counting = rows[order], counting[order]
    return NewestInteractions(rows, counting, whole)


@lru_cache(maxsize=2 * _USERS_PER_STATEMENT)
def _statement(dialect: str, users: int) -> str:
    """Rows of place, item id and times, by user in the order of their places, the newest first.

    Its parameters are, for each user: the id, the time after which, and how many. A part for each user
    lets the index end each of them.
    """
    times = ", ".join(f"{KINDS[place]}_at" for place in _PLACES)
    mark = "?" if dialect == "sqlite" else "%s"
    one = (
        f"SELECT {{place}} AS place, item_id, {times} FROM interactions "  # noqa: S608
        f"WHERE user_id = {mark} AND newest_at > {mark} ORDER BY newest_at DESC LIMIT {mark}"
    )
    return " UNION ALL ".join(f"SELECT * FROM ({one.format(place=n)}) AS user{n}" for n in range(users))  # noqa: S608
