"""Outcomes: impressions and actions with the response that they are attributed to.

Whenever more is known of a user and a post, all their events are attributed again.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from prometheus_client import Counter
from sqlalchemy import Connection, delete, select

from nearfeed_contracts.events import Attribution, Event, Impression, Interaction
from nearfeed_contracts.fields import now_micros, to_micros
from nearfeed_contracts.tables import ledger_locks, outcomes
from nearfeed_contracts.topics import READER_RETENTION
from nearfeed_recommender.exposure_log.attribution import (
    IMPRESSION,
    Attributed,
    RequestIdCheck,
    UserEvent,
    attribute,
    merged,
)
from nearfeed_recommender.exposure_log.request_checks import Claim, check_request_ids
from nearfeed_recommender.identity.erasures import erased_since
from nearfeed_recommender.identity.links import kin_of
from nearfeed_runtime.sql import chunks, claim, rows_by_key, upsert_tuples

_SLOTS = 65_536


def claim_readers(transaction: Connection, user_ids: Collection[str]) -> None:
    """Keeps others from writing of these readers until the transaction ends; waits for those who are at it.

    What is read after it is what those have left. All ids of a reader are kept.
    """
    readers = set(user_ids).union(*kin_of(transaction, user_ids).values())
    slots = {crc32(reader.encode()) % _SLOTS for reader in readers}
    claim(transaction, ledger_locks, [{"slot": slot} for slot in slots])


OUTCOMES = Counter(
    "nearfeed_outcomes_total",
    "Impressions and actions in the ledger, by what was known of them when they came.",
    ["kind", "attribution"],
)
RETENTION_MICROS = int(READER_RETENTION.total_seconds() * 1_000_000)
_OWN = (
    "explicit",
    "not_in_response",
    "invalid_request_id",
)  # the event carried the request id
Pair = tuple[str, str]


class _Stored(NamedTuple):
    """A row of the table, with its columns in their order."""

    user_id: str
    item_id: str
    kind: str
    occurred_at: int
    value: float | None
    request_id: str | None
    attribution: Attribution
    impression_at: int | None
    experiment: str | None
    arm: str | None

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self[:4]


@dataclass(frozen=True)
class AttributionSettings:
    """What outcomes are joined by; `window` is in microseconds."""

    secret: bytes
    window: int


def keep_outcomes(joining: AttributionSettings, transaction: Connection, events: Sequence[Event]) -> None:
    """Keeps impressions and actions, without readers who were erased since; a repetition changes nothing.

    Those that are older than records of readers are kept are passed over.
    """
    oldest = now_micros() - RETENTION_MICROS
    actions = [action for event in events if (action := _action_of(event)) and action.occurred_at >= oldest]
    claim_readers(transaction, {action.user_id for action in actions})
    moments = [(action.user_id, action.occurred_at) for action in actions]
    voided = erased_since(transaction, joining.secret, moments)
    kept = [action for action, void in zip(actions, voided, strict=True) if not void]
    _settle(joining, transaction, {(action.user_id, action.item_id) for action in kept}, kept)


def settle_answers(
    joining: AttributionSettings, transaction: Connection, request_ids: Collection[str]
) -> None:
    """Attributes anew what has told these request ids, after more became known of the answers.

    The caller has claimed the readers of the answers.
    """
    pairs: set[Pair] = set()
    for chunk in chunks(sorted(request_ids)):
        query = select(outcomes.c.user_id, outcomes.c.item_id).where(outcomes.c.request_id.in_(chunk))
        pairs.update((row.user_id, row.item_id) for row in transaction.execute(query))
    _settle(joining, transaction, pairs, ())


def settle_reader(joining: AttributionSettings, transaction: Connection, user_id: str) -> None:
    """Attributes all of a reader anew, as after they were found to be one with an anonymous id."""
    claim_readers(transaction, [user_id])
    query = select(outcomes.c.item_id).where(outcomes.c.user_id == user_id).distinct()
    _settle(joining, transaction, {(user_id, item_id) for item_id in transaction.scalars(query)}, ())


def forget_outcomes(joining: AttributionSettings, transaction: Connection, user_id: str, until: int) -> None:
    """Removes what a reader did up to a time in microseconds."""
    before = outcomes.c.occurred_at <= until
    transaction.execute(delete(outcomes).where(outcomes.c.user_id == user_id, before))
    settle_reader(joining, transaction, user_id)


def _action_of(event: Event) -> UserEvent | None:
    match event:
        case Impression():
            at = to_micros(event.occurred_at)
            return UserEvent(event.user_id, event.item_id, IMPRESSION, at, None, event.request_id)
        case Interaction():
            at = to_micros(event.occurred_at)
            return UserEvent(event.user_id, event.item_id, event.kind, at, event.value, event.request_id)
        case _:
            return None


def _settle(
    joining: AttributionSettings, transaction: Connection, pairs: set[Pair], actions: Sequence[UserEvent]
) -> None:
    stored = _stored(transaction, pairs)
    before = {row.key: row for row in stored}
    known = _by_pair([*map(_action_of_row, stored), *actions])
    checks = _verdicts(joining, transaction, known)
    rows = [
        _row(action, attributed)
        for pair, some in known.items()
        for action, attributed in _attributed(some, checks.get(pair, {}), joining.window)
    ]
    changed = [row for row in rows if before.get(row.key) != row]
    upsert_tuples(transaction, outcomes, changed)
    for row in changed:
        if row.key not in before:
            OUTCOMES.labels(row.kind, row.attribution).inc()


def _attributed(
    actions: Iterable[UserEvent], checks: Mapping[str, RequestIdCheck], window: int
) -> Iterable[tuple[UserEvent, Attributed]]:
    once = merged(actions, checks)
    return zip(once, attribute(once, checks, window), strict=True)


def _stored(transaction: Connection, pairs: Collection[Pair]) -> list[_Stored]:
    return [_Stored(*row) for row in rows_by_key(transaction, tuple(outcomes.c), pairs)]


def _by_pair(actions: Iterable[UserEvent]) -> dict[Pair, list[UserEvent]]:
    known: dict[Pair, list[UserEvent]] = defaultdict(list)
    for action in actions:
        known[action.user_id, action.item_id].append(action)
    return known


def _verdicts(
    joining: AttributionSettings, transaction: Connection, known: Mapping[Pair, Sequence[UserEvent]]
) -> dict[Pair, dict[str, RequestIdCheck]]:
    asked = {
        Claim(action.user_id, action.item_id, action.request_id)
        for actions in known.values()
        for action in actions
        if action.request_id is not None
    }
    found: dict[Pair, dict[str, RequestIdCheck]] = defaultdict(dict)
    for one, check in check_request_ids(transaction, joining.secret, asked).items():
        found[one.user_id, one.item_id][one.request_id] = check
    return found


def _action_of_row(row: _Stored) -> UserEvent:
    own = row.request_id if row.attribution in _OWN else None
    return UserEvent(row.user_id, row.item_id, row.kind, row.occurred_at, row.value, own)


def _row(action: UserEvent, attributed: Attributed) -> _Stored:
    return _Stored(*action[:5], *attributed)
