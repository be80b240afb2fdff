"""Loads the runs of spaces again whose vectors the store lacks: it is another one, or its data was lost."""

from collections.abc import Iterator

from sqlalchemy import Engine

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.runs import Run
from nearfeed_contracts.vector_store import VectorStore
from nearfeed_indexer.catalogue import LOADING, SpaceRow, active_name, all_spaces, count_posts, manifest_of
from nearfeed_indexer.checking import find_run
from nearfeed_indexer.loading import Loader, load_run
from nearfeed_indexer.opening import open_space
from nearfeed_runtime.operations import Said, Step
from nearfeed_runtime.sql import read_connection


def restore_spaces(loader: Loader) -> Iterator[Step]:
    """Loads every lost space from its run, the active one first; the active space stays active.

    The run gives the vectors of its posts, and the embedder those of newer posts, as after any load. A
    space that cannot be restored is reported, stays without vectors, and is tried again by the next call.
    """
    runs = []
    for row in lost_spaces(loader.engine, loader.store):
        # All spaces exist before the first is loaded, for the streams feed all of them meanwhile.
        try:
            runs.append(_opened(loader, row))
        except (NearfeedError, OSError):
            loader.store.create_space(row.space, manifest_of(row).dim)
            yield Said(_advice(row))
    for run in runs:
        yield Said(f"The vector store has no vectors of space {run.manifest.space}: loading its run again.")
        try:
            yield from load_run(loader, run.url)
        except NearfeedError as error:
            yield Said(str(error))


def lost_spaces(engine: Engine, store: VectorStore) -> list[SpaceRow]:
    """The spaces of the database of which the store has no vectors; the active one comes first.

    One that was active once and whose restoring was interrupted is among them.
    """
    stored = store.spaces()
    with read_connection(engine) as connection:
        active = active_name(connection)
        rows = sorted(all_spaces(connection), key=lambda row: row.space != active)
        posts = {row.space: count_posts(connection, row.space) for row in rows}
    return [
        row
        for row in rows
        if row.space not in stored
        or (row.state == LOADING and row.activated_at is not None)
        or (posts[row.space] > 0 and store.count(row.space) == 0)
    ]


def _opened(loader: Loader, row: SpaceRow) -> Run:
    """The run of a space, which is empty and loading from now on. Raises NearfeedError and OSError."""
    run = _run_of(loader, row)
    if row.space in loader.store.spaces() and loader.store.count(row.space) == 0:
        loader.store.drop_space(row.space)
    open_space(loader.engine, loader.store, run)
    return run


def _run_of(loader: Loader, row: SpaceRow) -> Run:
    """The run from which the space was loaded, also where the folder of all runs was moved since."""
    try:
        return find_run(row.run_url, loader.runs_url)
    except (NearfeedError, OSError):
        return find_run(row.space, loader.runs_url)


def _advice(row: SpaceRow) -> str:
    return (
        f"The vector store has no vectors of space {row.space}, and its run {row.run_url} is gone: put the "
        "run back and start again, or run `nearfeed train` and `nearfeed load latest --activate`."
    )
