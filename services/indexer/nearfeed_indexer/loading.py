"""Loads a run blue/green: its space takes part in the streams from the first moment on.

Each batch is one transaction that reads what the streams have put there and writes what outranks
it, so that a load may be broken off anywhere and begun again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, Engine, update

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.runs import BrokenRunError, VectorBatch
from nearfeed_contracts.tables import spaces
from nearfeed_contracts.vector_store import StoredVector, VectorStore
from nearfeed_indexer.catalogue import loading_space
from nearfeed_indexer.checking import CheckedRun, check_run, find_run
from nearfeed_indexer.contexts import CONTEXTS, Context, to_bytes
from nearfeed_indexer.dropping import discard_space
from nearfeed_indexer.opening import open_space
from nearfeed_indexer.posts import PostRow, posts_of
from nearfeed_indexer.readiness import wait_until_ready
from nearfeed_indexer.spaces import activate_space
from nearfeed_indexer.vectors import Entry, put_entries
from nearfeed_runtime.auditing import machine_user
from nearfeed_runtime.changes import lock_changes
from nearfeed_runtime.operations import Progress, Said, Step
from nearfeed_runtime.sql import committed


@dataclass(frozen=True)
class Loader:
    """What a load needs. `pump` is called after each batch and while it waits for other services.

    It lets them do their part: their processes, whose writes wait for the lock that a batch holds,
    or their consumers in this one.
    """

    engine: Engine
    store: VectorStore
    runs_url: str
    ready_seconds: float
    pump: Callable[[], None]
    batch: int = 2_000


def load_run(
    loader: Loader, run: str, activate: bool = False, wait: float | None = None, actor: str | None = None
) -> Iterator[Step]:
    """Loads a run by URL, path or space name, waits until its space is ready, and may activate it.

    Going on after a break is the same call once more. `actor` is who the audit names; without one, the
    user who runs this process. Raises NearfeedError: a run that is missing,
    broken or of another kind, a space that exists, or one that is not ready after `wait` seconds.
    """
    actor = actor or machine_user()
    checked = yield from check_run(find_run(run, loader.runs_url))
    open_space(loader.engine, loader.store, checked.run, actor)
    try:
        for step in load_vectors(loader.engine, loader.store, checked, loader.batch):
            yield step
            loader.pump()
    except BrokenRunError:
        discard_space(loader.engine, loader.store, checked.space, actor)
        raise
    seconds = loader.ready_seconds if wait is None else wait
    yield from wait_until_ready(loader.engine, loader.store, checked, seconds, loader.pump)
    if activate:
        yield from activate_space(loader.engine, checked.space, actor)


def load_vectors(
    engine: Engine, store: VectorStore, checked: CheckedRun, rows: int = 2_000
) -> Iterator[Step]:
    """Puts the vectors of all posts that are known and not deleted, then sets `loaded_at`."""
    done = skipped = 0
    for batch in checked.run.vector_batches(rows):
        stored = committed(engine, partial(_store_batch, store=store, space=checked.space, batch=batch))
        done += len(batch.item_ids)
        skipped += len(batch.item_ids) - stored
        yield Progress("Vectors", done, len(checked.item_ids))
    if skipped:
        yield Said(f"{skipped} of the run's {done} posts are unknown or deleted; they were left out.")
    unset = (spaces.c.space == checked.space, spaces.c.loaded_at.is_(None))
    loaded = update(spaces).where(*unset).values(loaded_at=now_micros())
    committed(engine, lambda transaction: transaction.execute(loaded))


def _store_batch(transaction: Connection, store: VectorStore, space: str, batch: VectorBatch) -> int:
    """Puts those of a batch that outrank what is there; returns how many of its posts there are."""
    lock_changes(transaction, CONTEXTS)
    loading_space(transaction, space)
    entries = _entries(batch, posts_of(transaction, batch.item_ids))
    put_entries(transaction, store, space, entries, renew=False)
    return len(entries)


def _entries(batch: VectorBatch, posts: dict[str, PostRow]) -> list[Entry]:
    """What a batch puts into the space; a run without versions holds posts as they are now."""
    entries = []
    for index, item_id in enumerate(batch.item_ids):
        post = posts.get(item_id)
        if post is None or post.deleted:
            continue
        version = post.version if batch.versions is None else int(batch.versions[index])
        context = Context(item_id, version, to_bytes(batch.contexts[index]))
        vector = StoredVector(
            item_id, post.community_id, post.author_id, post.published_at, batch.vectors[index]
        )
        entries.append(Entry(context, vector))
    return entries
