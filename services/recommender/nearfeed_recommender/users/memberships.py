"""Which communities a reader has joined, and the controls they set: SQL with the outbox."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

from sqlalchemy import Connection, delete, select

from nearfeed_contracts.events import Control, MembershipChanged, ReaderControlChanged
from nearfeed_contracts.fields import from_micros, now_micros
from nearfeed_contracts.tables import memberships, reader_controls
from nearfeed_recommender.catalog.writes import UnknownCommunityError, known_communities
from nearfeed_recommender.infra.outbox import put_outbox
from nearfeed_recommender.users.profiles import UNWANTED
from nearfeed_recommender.users.user_vectors import mark_reader_stale
from nearfeed_runtime.changes import raise_revisions
from nearfeed_runtime.sql import upsert


def put_memberships(transaction: Connection, rows: Sequence[tuple[str, str, int]]) -> None:
    """Lets readers join: rows of user id, community id and time in microseconds.

    A membership that stands keeps its time. Raises UnknownCommunityError.
    """
    unknown = {community for _, community, _ in rows} - known_communities(
        transaction, [community for _, community, _ in rows]
    )
    if unknown:
        raise UnknownCommunityError(
            f"There is no community {min(unknown)!r}; make it with PUT /v1/communities/{min(unknown)}."
        )
    raise_revisions(transaction, {user for user, _, _ in rows})
    latest = {(user, community): joined_at for user, community, joined_at in rows}
    upsert(
        transaction,
        memberships,
        [{"user_id": u, "community_id": c, "joined_at": at} for (u, c), at in latest.items()],
        keep=["joined_at"],
    )
    put_outbox(
        transaction,
        [
            MembershipChanged(user_id=u, community_id=c, joined=True, changed_at=from_micros(at))
            for (u, c), at in latest.items()
        ],
    )


def leave_community(transaction: Connection, user_id: str, community_id: str) -> None:
    """Ends a membership; one that does not stand is no error."""
    raise_revisions(transaction, [user_id])
    transaction.execute(
        delete(memberships).where(
            memberships.c.user_id == user_id, memberships.c.community_id == community_id
        )
    )
    left = MembershipChanged(
        user_id=user_id, community_id=community_id, joined=False, changed_at=from_micros(now_micros())
    )
    put_outbox(transaction, [left])


def memberships_of(connection: Connection, user_id: str) -> list[tuple[str, int]]:
    """The communities of a reader and when they joined, in microseconds, the newest first."""
    query = (
        select(memberships.c.community_id, memberships.c.joined_at)
        .where(memberships.c.user_id == user_id)
        .order_by(memberships.c.joined_at.desc(), memberships.c.community_id)
    )
    return [(row.community_id, row.joined_at) for row in connection.execute(query)]


def communities_of(connection: Connection, user_id: str) -> frozenset[str]:
    query = select(memberships.c.community_id).where(memberships.c.user_id == user_id)
    return frozenset(connection.scalars(query))


class SetControl(NamedTuple):
    """A control as it stands; `set_at` in microseconds since 1970."""

    control: Control
    target: str
    set_at: int


@dataclass(frozen=True)
class Controls:
    """What a reader does not want: authors, tags, items; and whom they follow.

    `less` has those of the items that the reader wants less like, the newest first.
    """

    authors: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    items: frozenset[str] = frozenset()
    followed: frozenset[str] = frozenset()
    less: tuple[str, ...] = ()


def controls_of(connection: Connection, user_id: str) -> Controls:
    """The controls that a user has set."""
    return controls_from(set_controls(connection, user_id))


def controls_from(given: Iterable[SetControl]) -> Controls:
    """`block` refuses an author, `mute` an author or a tag, `hide` a post, `less` a post and those like it;
    `follow` names an author.
    """
    by_control: dict[str, list[str]] = {control: [] for control in get_args(Control)}
    for each in sorted(given, key=lambda each: (-each.set_at, each.control, each.target)):
        by_control[each.control].append(each.target)
    return Controls(
        authors=frozenset(by_control["block"] + by_control["mute"]),
        tags=frozenset(by_control["mute"]),
        items=frozenset(by_control["less"] + by_control["hide"]),
        followed=frozenset(by_control["follow"]),
        less=tuple(by_control["less"]),
    )


def set_controls(connection: Connection, user_id: str) -> list[SetControl]:
    """What a reader has set, the newest first."""
    query = (
        select(reader_controls.c.control, reader_controls.c.target, reader_controls.c.set_at)
        .where(reader_controls.c.user_id == user_id)
        .order_by(reader_controls.c.set_at.desc(), reader_controls.c.control, reader_controls.c.target)
    )
    return [SetControl(*row) for row in connection.execute(query)]


def set_control(
    transaction: Connection,
    user_id: str,
    control: Control,
    target: str,
    active: bool,
    changed_at: int | None = None,
) -> None:
    """Sets or lifts a control; repeating either is no error. `changed_at` in microseconds; None: now."""
    at = now_micros() if changed_at is None else changed_at
    change = set_all if active else _lift
    change(transaction, user_id, control, [target], at)


def set_all(transaction: Connection, user_id: str, control: Control, targets: Sequence[str], at: int) -> None:
    """Sets a control on targets at a time in microseconds; one that stands keeps its time."""
    if not targets:
        return
    raise_revisions(transaction, [user_id])
    rows = [{"user_id": user_id, "control": control, "target": target, "set_at": at} for target in targets]
    upsert(transaction, reader_controls, rows, keep=["set_at"])
    _publish(transaction, user_id, control, targets, at, active=True)


def _lift(transaction: Connection, user_id: str, control: Control, targets: Sequence[str], at: int) -> None:
    raise_revisions(transaction, [user_id])
    own = (reader_controls.c.user_id == user_id) & (reader_controls.c.control == control)
    transaction.execute(delete(reader_controls).where(own, reader_controls.c.target.in_(targets)))
    _publish(transaction, user_id, control, targets, at, active=False)


def _publish(
    transaction: Connection,
    user_id: str,
    control: Control,
    targets: Sequence[str],
    at: int,
    *,
    active: bool,
) -> None:
    if control in UNWANTED:
        mark_reader_stale(transaction, user_id)
    about = {"user_id": user_id, "control": control, "active": active, "changed_at": from_micros(at)}
    put_outbox(transaction, [ReaderControlChanged(target=target, **about) for target in targets])
