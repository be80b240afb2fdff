"""Makes the space of a run, from which moment on the streams feed it."""

from functools import partial

from sqlalchemy import Connection, Engine, delete, insert, update

from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.runs import Run
from nearfeed_contracts.tables import item_contexts, spaces
from nearfeed_contracts.vector_store import VectorStore
from nearfeed_indexer.catalogue import LOADING, find_space
from nearfeed_indexer.contexts import CONTEXTS
from nearfeed_indexer.dropping import purge_space
from nearfeed_runtime.auditing import machine_user, put_audit
from nearfeed_runtime.changes import lock_changes
from nearfeed_runtime.sql import committed


def open_space(engine: Engine, store: VectorStore, run: Run, actor: str | None = None) -> None:
    """Makes a space, or finds it as a load of the same run has left it. Raises ConflictError.

    What a crashed drop has left of a former one is removed. A space whose vectors the store has
    lost begins anew. `actor` is who the audit names; without one, the user who runs this process.
    """
    purge_space(engine, store, run.manifest.space)
    committed(engine, partial(_open, store=store, run=run, actor=actor or machine_user()))


def _open(transaction: Connection, store: VectorStore, run: Run, actor: str) -> None:
    space = run.manifest.space
    lock_changes(transaction, CONTEXTS)
    row = find_space(transaction, space)
    if row is None:
        _insert(transaction, run)
        put_audit(transaction, actor, "spaces.load", space, {"run": run.url})
    elif row.manifest != run.manifest.model_dump_json():
        raise ConflictError(
            f"Space {space} was made from another run, at {row.run_url}; "
            f"give this run another name, or drop the space first."
        )
    elif space not in store.spaces():
        _restart_load(transaction, run)
    elif row.state != LOADING:
        raise ConflictError(f"Space {space} is loaded already; activate it, or drop it to load it anew.")
    store.create_space(space, run.manifest.dim)


def _insert(transaction: Connection, run: Run) -> None:
    transaction.execute(
        insert(spaces).values(
            space=run.manifest.space,
            state=LOADING,
            manifest=run.manifest.model_dump_json(),
            run_url=run.url,
            created_at=now_micros(),
        )
    )


def _restart_load(transaction: Connection, run: Run) -> None:
    space = run.manifest.space
    transaction.execute(delete(item_contexts).where(item_contexts.c.space == space))
    unloaded = {"state": LOADING, "loaded_at": None, "run_url": run.url}
    transaction.execute(update(spaces).where(spaces.c.space == space).values(unloaded))
