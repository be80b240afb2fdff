"""A change of what a feed needs of a user raises the revision of that user, and of no other."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, select

from nearfeed_contracts.events import (
    Event,
    Interaction,
    MembershipChanged,
    ReaderControlChanged,
    ReaderReset,
    UserErased,
)
from nearfeed_contracts.fields import from_micros, now_micros
from nearfeed_contracts.tables import reader_builds, user_revisions
from nearfeed_core.readings import WeightRule
from nearfeed_recommender.catalog.columns import Columns
from nearfeed_recommender.catalog.embeddings import Embeddings
from nearfeed_recommender.exposure_log.outcomes import AttributionSettings
from nearfeed_recommender.ingest import consumer as app_topics
from nearfeed_recommender.users import consumer as consuming
from nearfeed_recommender.users import erasure as erasing
from nearfeed_recommender.users import memberships, rows, user_vectors
from nearfeed_recommender.users import rebuild as upkeep
from nearfeed_recommender.users import reset_marks as resets
from nearfeed_recommender.users.profiles import Pooling
from nearfeed_recommender.users.reset import reset_reader
from nearfeed_runtime.changes import raise_revisions
from nearfeed_runtime.sql import committed, read_connection, write_transaction

SECRET = b"a test's secret"
JOINING = AttributionSettings(SECRET, 3_600_000_000)
USERS = ("u", "v", "w", "author")
Transacted = Callable[[Connection], object]


def interaction(user_id: str, item_id: str = "p1", kind: Any = "read", at: int | None = None) -> Interaction:
    moment = from_micros(now_micros() if at is None else at)
    return Interaction(user_id=user_id, item_id=item_id, kind=kind, occurred_at=moment)


def pooling(engine: Engine) -> Pooling:
    return Pooling(WeightRule(), Embeddings(engine, Columns()))


def consume(*events: Event) -> Transacted:
    """What the consumer does with events of one type."""

    def work(transaction: Connection) -> None:
        for handle in consuming.handlers(pooling(transaction.engine), JOINING)[type(events[0])]:
            handle(transaction, events)

    return work


def take_from_app(*events: Event) -> Transacted:
    handlers = app_topics.handlers(None, SECRET)[type(events[0])]  # type: ignore[arg-type]

    def work(transaction: Connection) -> None:
        for handle in handlers:
            handle(transaction, events)

    return work


def join(*user_ids: str) -> Transacted:
    return partial(memberships.put_memberships, rows=[(each, "c1", now_micros()) for each in user_ids])


def control(user_id: str, name: Any, target: str, active: bool = True) -> Transacted:
    return partial(memberships.set_control, user_id=user_id, control=name, target=target, active=active)


def joined(user_id: str, active: bool = True) -> MembershipChanged:
    return MembershipChanged(
        user_id=user_id, community_id="c1", joined=active, changed_at=from_micros(now_micros())
    )


def controlled(user_id: str, name: Any, target: str) -> ReaderControlChanged:
    at = from_micros(now_micros())
    return ReaderControlChanged(user_id=user_id, control=name, target=target, active=True, changed_at=at)


def in_turn(*works: Transacted) -> Transacted:
    def work(transaction: Connection) -> None:
        for each in works:
            each(transaction)

    return work


def reset(user_id: str) -> ReaderReset:
    return ReaderReset(user_id=user_id, reset_at=from_micros(now_micros()))


def refresh(*user_ids: str) -> Transacted:
    def work(transaction: Connection) -> None:
        for space, blocks in user_vectors.live_spaces(transaction).items():
            user_vectors.refresh_vectors(transaction, pooling(transaction.engine), space, blocks, user_ids)

    return work


@dataclass(frozen=True)
class Writer:
    """A transaction, and those whose revisions it raises; `before` is committed first."""

    name: str
    work: Transacted
    raised: tuple[str, ...]
    before: Transacted = lambda _: None


WRITERS = (
    Writer(
        "merge_events", partial(rows.merge_events, events=[interaction("v"), interaction("u")]), ("u", "v")
    ),
    Writer("trim_rows", partial(rows.trim_rows, user_id="u", moment=now_micros()), ("u",)),
    Writer("consumed interactions", consume(interaction("w"), interaction("u", "p2")), ("u", "w")),
    Writer(
        "a void event that hides a post",
        consume(interaction("v", "p3", "hide", at=5)),
        ("v",),
        before=partial(resets.put_reset, user_id="v", moment=10, controls=False),
    ),
    Writer("put_memberships", join("v", "u"), ("u", "v")),
    Writer("leave_community", partial(memberships.leave_community, user_id="u", community_id="c1"), ("u",)),
    Writer("hide", control("u", "hide", "p1"), ("u",)),
    Writer("follow", control("u", "follow", "someone"), ("u",)),
    Writer("lift", control("u", "mute", "tag", active=False), ("u",), before=control("u", "mute", "tag")),
    Writer("memberships of an app", take_from_app(joined("u"), joined("v", active=False)), ("u", "v")),
    Writer("controls of an app", take_from_app(controlled("w", "less", "p1")), ("w",)),
    Writer("put_reset", partial(resets.put_reset, user_id="u", moment=10, controls=True), ("u",)),
    Writer("forget_reset", partial(resets.forget_reset, user_id="u", moment=10), ("u",)),
    Writer(
        "reset_reader",
        partial(reset_reader, user_id="u", moment=now_micros(), controls=True, memberships=True),
        ("u",),
    ),
    Writer("a consumed reset", consume(reset("u")), ("u",)),
    Writer(
        "erase_user",
        partial(erasing.erase_user, joining=JOINING, user_id="author", own_posts="delete"),
        ("author", "v", "w"),
        before=in_turn(control("v", "follow", "author"), control("w", "block", "author")),
    ),
    Writer(
        "rename_author",
        partial(erasing.rename_author, author_id="author", pseudonym="p", until=2**60),
        ("v",),
        before=control("v", "mute", "author"),
    ),
    Writer("refresh_vectors", refresh("u", "v"), ("u", "v")),
    Writer("mark_stale", partial(user_vectors.mark_stale, space="s1", user_ids=["w", "u"]), ("u", "w")),
    Writer("mark_reader_stale", partial(user_vectors.mark_reader_stale, user_id="u"), ("u",)),
    Writer("mark_all_stale", user_vectors.mark_all_stale, USERS),
)


def revisions(world: Any) -> dict[str, int]:
    with read_connection(world.engine) as connection:
        rows_ = connection.execute(select(user_revisions.c.user_id, user_revisions.c.revision))
        return {row.user_id: row.revision for row in rows_}


def raised_since(world: Any, before: dict[str, int]) -> list[str]:
    after = revisions(world)
    assert all(after.get(user_id, 0) >= number for user_id, number in before.items() if user_id in after)
    return sorted(user_id for user_id, number in after.items() if number != before.get(user_id, 0))


@pytest.fixture
def known(served: Any) -> Any:
    """Four users who have each read two posts and joined a community."""
    for user_id in USERS:
        committed(served.engine, join(user_id))
        committed(served.engine, consume(interaction(user_id, "p4"), interaction(user_id, "p5")))
    return served


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)
def test_a_writer_raises_the_revisions_of_those_it_touches(known: Any, writer: Writer) -> None:
    committed(known.engine, writer.before)
    before = revisions(known)
    assert before.keys() == set(USERS)
    committed(known.engine, writer.work)
    assert raised_since(known, before) == sorted(writer.raised)


def test_a_changed_context_raises_those_who_read_the_post(known: Any) -> None:
    committed(known.engine, consume(interaction("v", "p9")))
    known.settle()
    before = revisions(known)
    known.set_vector("s1", "p9", np.ones(4, np.float32), version=2)
    known.settle()
    assert raised_since(known, before) == ["v"]


def test_a_changed_weight_rule_raises_all(known: Any) -> None:
    known.settle()
    before = revisions(known)
    with write_transaction(known.engine) as transaction:
        transaction.execute(reader_builds.update().values(rule="another"))
    upkeep.run_once(known.engine, pooling(known.engine))
    assert raised_since(known, before) == sorted(USERS)


def test_nothing_is_left_of_a_user_who_was_erased(known: Any) -> None:
    """Not after a replay either; and one who comes back has no revision of before."""
    before = revisions(known)
    at = from_micros(now_micros())
    committed(known.engine, consume(UserErased(user_id="u", erased_at=at)))
    assert revisions(known) == {user_id: n for user_id, n in before.items() if user_id != "u"}
    committed(known.engine, consume(interaction("u", at=5)))
    assert "u" not in revisions(known)
    committed(known.engine, join("u"))
    assert revisions(known)["u"] > before["u"] + 1_000


def test_what_came_after_an_erasure_keeps_its_revision(known: Any) -> None:
    before = revisions(known)
    committed(known.engine, consume(UserErased(user_id="u", erased_at=from_micros(5))))
    assert raised_since(known, before) == ["u"]


def test_many_users_are_raised_once_each(world: Any) -> None:
    users = [f"u{number}" for number in range(1_201)]
    committed(world.engine, lambda t: raise_revisions(t, users))
    first = revisions(world)
    committed(world.engine, lambda t: raise_revisions(t, [*users, *users]))
    assert revisions(world) == {user_id: number + 1 for user_id, number in first.items()}
    assert first.keys() == set(users)


def test_a_writer_that_raises_nothing_is_found(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memberships, "raise_revisions", lambda *_: None)
    committed(served.engine, join("u"))
    (fault,) = served.written.faults
    assert fault.startswith("memberships was written without user_revisions")
    assert "put_memberships" in fault
    served.written.faults.clear()
