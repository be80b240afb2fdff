"""When a loaded space may be served: all posts are in it, its search finds them, its readers are built."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, Engine, func, select, update

from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.tables import item_contexts, items, reader_builds, spaces
from nearfeed_contracts.vector_store import VectorStore
from nearfeed_indexer.catalogue import READY, count_posts, has_encoder, loading_space
from nearfeed_indexer.checking import CheckedRun
from nearfeed_indexer.contexts import CONTEXTS
from nearfeed_indexer.recall import K, search_recall
from nearfeed_runtime.changes import lock_changes
from nearfeed_runtime.operations import Progress, Said, Step
from nearfeed_runtime.sql import chunks, committed, read_connection

LEAST_RECALL = 0.99
UNBUILT = "its readers are not built (the recommender builds them)"
_HELD = (item_contexts.c.item_id == items.c.item_id) & item_contexts.c.context.is_not(None)


class NotReadyError(ConflictError):
    """A space that is loaded and not ready in time; the text says what is missing."""


@dataclass(frozen=True)
class Readiness:
    """How far a space has come: `wanted` posts should be in it, `held` of them are.

    `readers` is None until they are built, `recall` until it was measured; `faults` are what is missing.
    """

    wanted: int
    held: int
    readers: int | None
    recall: float | None
    faults: tuple[str, ...]


def wait_until_ready(
    engine: Engine, store: VectorStore, checked: CheckedRun, seconds: float, pump: Callable[[], None]
) -> Iterator[Step]:
    """Looks until nothing is missing, then makes the space ready. Raises NotReadyError after `seconds`."""
    deadline = time.monotonic() + seconds
    seen = examine(engine, store, checked)
    yield from _progress(seen)
    while seen.faults:
        if time.monotonic() >= deadline:
            raise NotReadyError(
                f"Space {checked.space} is not ready: {'; '.join(seen.faults)}. "
                f"Load the run again to go on waiting."
            )
        pump()
        seen = examine(engine, store, checked, recall=seen.recall)
        yield from _progress(seen)
    committed(engine, partial(_make_ready, space=checked.space))
    yield from _summary(engine, checked.space, seen)


def examine(
    engine: Engine, store: VectorStore, checked: CheckedRun, recall: float | None = None
) -> Readiness:
    """What a loaded space lacks. The search is measured once all posts are there; pass on what it had."""
    with read_connection(engine) as connection:
        loading_space(connection, checked.space, hold=False)
        held, wanted = _posts(connection, checked)
        readers = readers_of(connection, checked.space)
    faults = list(_post_faults(wanted - held, checked))
    if not faults and readers is not None:
        faults += _count_faults(engine, store, checked.space)
    if not faults and (recall is None or recall < LEAST_RECALL):
        recall = search_recall(engine, store, checked)
        if recall < LEAST_RECALL:
            faults.append(f"the recall@{K} of its search is {recall:.3f}, below {LEAST_RECALL}")
    if readers is None:
        faults.append(UNBUILT)
    return Readiness(wanted, held, readers, recall, tuple(faults))


def held_posts(connection: Connection, space: str) -> tuple[int, int]:
    """How many undeleted posts have a vector of their current version, and how many there are."""
    undeleted = select(func.count()).where(items.c.deleted.is_(False))
    held = undeleted.select_from(items.join(item_contexts, _HELD)).where(
        item_contexts.c.space == space, item_contexts.c.version >= items.c.version
    )
    return connection.scalar(held) or 0, connection.scalar(undeleted) or 0


def readers_of(connection: Connection, space: str) -> int | None:
    """How many readers were built; None before. A build of a dropped space of that name does not count."""
    oldest = select(func.min(item_contexts.c.change_id)).where(item_contexts.c.space == space)
    since = func.coalesce(oldest.scalar_subquery(), 0)
    build = reader_builds.c
    return connection.scalar(select(build.readers).where(build.space == space, build.change_id >= since))


def _posts(connection: Connection, checked: CheckedRun) -> tuple[int, int]:
    """As `held_posts`; for a run without an encoder, only posts that it holds, in whatever version."""
    if has_encoder(checked.run.manifest):
        return held_posts(connection, checked.space)
    counts = [_posts_among(connection, checked.space, chunk) for chunk in chunks(checked.item_ids)]
    return sum(held for held, _ in counts), sum(wanted for _, wanted in counts)


def _posts_among(connection: Connection, space: str, item_ids: Sequence[str]) -> tuple[int, int]:
    """Of these posts, those that have a vector, and those that should: neither deleted nor brought back."""
    same = (item_contexts.c.item_id == items.c.item_id) & (item_contexts.c.space == space)
    known = (
        select(func.count(item_contexts.c.context), func.count() - func.count(item_contexts.c.item_id))
        .select_from(items.outerjoin(item_contexts, same))
        .where(items.c.item_id.in_(item_ids), items.c.deleted.is_(False))
    )
    held, missing = connection.execute(known).one()
    return held, held + missing


def _post_faults(missing: int, checked: CheckedRun) -> Iterator[str]:
    if missing and has_encoder(checked.run.manifest):
        yield f"{missing} posts have no vector of their current version (the embedder makes them)"
    elif missing:
        yield f"{missing} posts of the run have come in since it was loaded"


def _count_faults(engine: Engine, store: VectorStore, space: str) -> Iterator[str]:
    """Compares both sides while nobody writes, and so only where nothing else is missing."""
    expected, found = committed(engine, partial(_counts, store=store, space=space))
    if found != expected:
        yield f"the vector store holds {found} vectors of its {expected} posts (drop it and load it anew)"


def _counts(transaction: Connection, store: VectorStore, space: str) -> tuple[int, int]:
    """The vectors that SQL says are there, and those that the store holds."""
    lock_changes(transaction, CONTEXTS)
    loading_space(transaction, space)
    return count_posts(transaction, space), store.count(space)


def _make_ready(transaction: Connection, space: str) -> None:
    loading_space(transaction, space)
    transaction.execute(update(spaces).where(spaces.c.space == space).values(state=READY))


def _progress(seen: Readiness) -> Iterator[Step]:
    yield Progress("Posts with a vector", seen.held, seen.wanted)
    yield Progress("Readers", seen.readers or 0, seen.readers)


def _summary(engine: Engine, space: str, seen: Readiness) -> Iterator[Step]:
    with read_connection(engine) as connection:
        posts = count_posts(connection, space)
        current, undeleted = held_posts(connection, space)
    yield Said(
        f"Space {space} is ready: {posts} posts, {seen.readers} readers, "
        f"recall@{K} of its search {seen.recall:.3f}."
    )
    if current < undeleted:
        yield Said(
            f"{undeleted - current} posts stay without a vector of their current version, "
            f"for the run has no encoder."
        )
