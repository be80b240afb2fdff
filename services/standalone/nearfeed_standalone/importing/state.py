"""How far a source has been taken in: one row by its identity and its kind."""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import imports
from nearfeed_runtime.sql import read_connection, upsert


@dataclass(frozen=True)
class State:
    """`rows_done` counts the rows that were read, `rows_refused` those of them refused.

    `read_up_to` is the key of the last row where the source is a query.
    """

    rows_done: int = 0
    rows_refused: int = 0
    finished: bool = False
    read_up_to: str | None = None

    @property
    def rows_taken(self) -> int:
        return self.rows_done - self.rows_refused


def state_of(engine: Engine, identity: str, kind: str) -> State:
    columns = (imports.c.rows_done, imports.c.rows_refused, imports.c.finished, imports.c.read_up_to)
    query = select(*columns).where(imports.c.file_hash == identity, imports.c.kind == kind)
    with read_connection(engine) as connection:
        row = connection.execute(query).one_or_none()
    return State(*row) if row else State()


def store_state(transaction: Connection, identity: str, kind: str, state: State) -> None:
    row = {
        "file_hash": identity,
        "kind": kind,
        "rows_done": state.rows_done,
        "rows_refused": state.rows_refused,
        "finished": state.finished,
        "read_up_to": state.read_up_to,
        "updated_at": now_micros(),
    }
    upsert(transaction, imports, [row])
