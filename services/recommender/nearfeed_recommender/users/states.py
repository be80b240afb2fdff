"""User states in memory, bounded by bytes, with accepted events merged into them.

A state is valid as long as SQL has the revision at which it was read. Events that this process has accepted
are merged at once, by the same merge that the consumer uses, so the next feed has them.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from cachetools import LRUCache
from sqlalchemy import Engine

from nearfeed_contracts.events import KINDS, Interaction
from nearfeed_core.engagements import Values, times_after
from nearfeed_core.readings import WeightRule
from nearfeed_recommender.catalog.catalog import ITEMS
from nearfeed_recommender.catalog.columns import Columns, Rows
from nearfeed_recommender.catalog.embeddings import CONTEXTS
from nearfeed_recommender.identity.erasures import hash_user
from nearfeed_recommender.users.memberships import SetControl, controls_from
from nearfeed_recommender.users.reset_marks import LONG_AGO
from nearfeed_recommender.users.state import UserState, Vector
from nearfeed_runtime.point_reads import read_rows

_FRESHNESS = (
    "SELECT COALESCE((SELECT revision FROM user_revisions WHERE user_id = ?), "
    "(SELECT erased_at FROM erased_users WHERE user_hash = ?), 0), "
    "(SELECT space FROM active_space WHERE slot = 1), "
    "(SELECT value FROM change_sequence WHERE name = ?), "
    "(SELECT value FROM change_sequence WHERE name = ?)"
)


class Freshness(NamedTuple):
    """What SQL says: the user's revision, the active space, the last changes.

    The revision of a user without one is when they were erased, 0 where never: who was erased has another
    one than who was never there.
    """

    revision: int
    space: str | None
    items: int
    embeddings: int


def read_freshness(engine: Engine, user_id: str, user_hash: str) -> Freshness:
    """One statement with five look-ups by primary key; `user_hash` is that by which an erasure is kept."""
    asked = (user_id, user_hash, ITEMS, CONTEXTS)
    ((revision, space, items, embeddings),) = read_rows(engine, _FRESHNESS, asked)
    return Freshness(revision, space, items or 0, embeddings or 0)


_MOST_BYTES = 128 * 2**20
_MOST_PENDING = 500
_MOST_PENDING_EVENTS = 100_000
_TIMES = ", ".join(f"{kind}_at" for kind in KINDS)
_ERASED_PLACE = 3
_BLANK = ", ".join(["NULL"] * (1 + len(KINDS)))
_STATE = f"""
SELECT 'interaction', item_id, NULL, NULL, NULL, rating_value, {_TIMES}
FROM interactions WHERE user_id = ?
UNION ALL SELECT 'revision', NULL, NULL, revision, NULL, {_BLANK} FROM user_revisions WHERE user_id = ?
UNION ALL SELECT 'reset', NULL, NULL, reset_at, NULL, {_BLANK} FROM reader_resets WHERE user_id = ?
UNION ALL SELECT 'erased', NULL, NULL, erased_at, NULL, {_BLANK} FROM erased_users WHERE user_hash = ?
UNION ALL SELECT 'joined', community_id, NULL, NULL, NULL, {_BLANK} FROM memberships WHERE user_id = ?
UNION ALL SELECT 'control', target, control, set_at, NULL, {_BLANK} FROM reader_controls WHERE user_id = ?
UNION ALL SELECT 'unit', unit_id, NULL, NULL, NULL, {_BLANK} FROM reader_units WHERE user_id = ?
UNION ALL SELECT 'vector', spaces.space, NULL, NULL, vector, {_BLANK} FROM spaces CROSS JOIN user_vectors
WHERE user_vectors.space = spaces.space AND user_vectors.user_id = ? AND NOT stale
"""  # noqa: S608
"""All that a state is read from, in one statement and so one round trip.

Its columns: part, name, detail, number, vector, rating, and a time for each kind of event. SQLite keeps the
order of a cross join: user vectors are found by their key, space and user.
"""


class _Overlaid(NamedTuple):
    """A state with events that came after it was read."""

    base: UserState
    events: tuple[Interaction, ...]
    state: UserState


class UserStates:
    """Thread-safe. `rule` weighs interactions, `secret` keys hashes of erased users."""

    def __init__(
        self, columns: Columns, rule: WeightRule, secret: bytes, most_bytes: int = _MOST_BYTES
    ) -> None:
        self._columns, self._rule, self._secret = columns, rule, secret
        self._kept: LRUCache[str, UserState] = LRUCache(most_bytes, getsizeof=lambda state: state.bytes)
        self._pending: LRUCache[str, tuple[Interaction, ...]] = LRUCache(_MOST_PENDING_EVENTS, getsizeof=len)
        self._overlaid: LRUCache[str, _Overlaid] = LRUCache(
            most_bytes, getsizeof=lambda made: made.state.bytes
        )
        self._lock = threading.Lock()

    def hash_of(self, user_id: str) -> str:
        """The hash by which an erasure of the user is kept."""
        return hash_user(self._secret, user_id)

    def kept(self, user_id: str, revision: int) -> UserState | None:
        """The user's state, where it is in memory at the revision that SQL has."""
        with self._lock:
            state = self._kept.get(user_id)
        return self._with_pending(state) if state is not None and state.revision == revision else None

    def read(self, engine: Engine, user_id: str) -> UserState:
        """The user's state as SQL has it now."""
        state = self._read(engine, user_id)
        self._keep(state)
        return self._with_pending(state)

    def accept(self, events: Iterable[Interaction]) -> None:
        """Lays events over the states of their users, from the next request on."""
        with self._lock:
            for event in events:
                known = self._pending.get(event.user_id, ())
                self._pending[event.user_id] = (*known[-_MOST_PENDING:], event)

    def forget(self, user_id: str) -> None:
        """Lets go of what this process has of a user."""
        with self._lock:
            for kept in (self._kept, self._pending, self._overlaid):
                kept.pop(user_id, None)

    def _keep(self, state: UserState) -> None:
        with self._lock:
            pending = tuple(event for event in self._pending.get(state.user_id, ()) if not state.has(event))
            if pending:
                self._pending[state.user_id] = pending
            else:
                self._pending.pop(state.user_id, None)
            self._overlaid.pop(state.user_id, None)
            if state.bytes <= self._kept.maxsize:
                self._kept[state.user_id] = state

    def _with_pending(self, state: UserState) -> UserState:
        with self._lock:
            pending = self._pending.get(state.user_id, ())
            made = self._overlaid.get(state.user_id)
        if not pending:
            return state
        if made is not None and made.base is state and made.events is pending:
            return made.state
        overlaid = state.with_events(pending)
        with self._lock:
            if overlaid.bytes <= self._overlaid.maxsize:
                self._overlaid[state.user_id] = _Overlaid(state, pending, overlaid)
        return overlaid

    def _read(self, engine: Engine, user_id: str) -> UserState:
        parts = self._parts(engine, user_id)
        numbers = [number for part in ("reset", "erased") for _, _, number, *_ in parts[part]]
        reset_at = max(numbers, default=LONG_AGO)
        rows, times, ratings = self._interactions(parts["interaction"], reset_at)
        set_controls = (SetControl(control, name, set_at) for name, control, set_at, *_ in parts["control"])
        return UserState(
            user_id=user_id,
            revision=next((number for _, _, number, *_ in parts["revision"]), max(reset_at, 0)),
            columns=self._columns,
            rule=self._rule,
            rows=rows,
            times=times,
            ratings=ratings,
            joined=frozenset(name for name, *_ in parts["joined"]),
            controls=controls_from(set_controls),
            reset_at=reset_at,
            unit=next((name for name, *_ in parts["unit"]), user_id),
            vectors={name: _vector(vector) for name, _, _, vector, *_ in parts["vector"] if vector},
        )

    def _parts(self, engine: Engine, user_id: str) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of _STATE by their part, without it."""
        asked = [user_id] * _STATE.count("?")
        asked[_ERASED_PLACE] = self.hash_of(user_id)
        parts: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for part, *values in read_rows(engine, _STATE, asked):
            parts[part].append(tuple(values))
        return parts

    def _interactions(self, found: list[tuple[Any, ...]], reset_at: int) -> tuple[Rows, Values, Values]:
        found.sort(key=itemgetter(0))
        rows = self._columns.reserve(row[0] for row in found)
        numbers = np.array([row[4:] for row in found], np.float64).reshape(len(found), 1 + len(KINDS))
        times, ratings = times_after(numbers[:, 1:], numbers[:, 0], reset_at)
        left = ~np.isnan(times).all(axis=1)
        return rows[left], times[left], ratings[left]


def _vector(blob: bytes) -> Vector:
    return np.frombuffer(blob, dtype="<f4")
