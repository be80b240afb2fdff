"""The audit: who has changed what by hand, written in the transaction of each change.

An actor is the name of an API key for a change over HTTP, and the author or the user of the machine
for a command.
"""

import getpass
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Engine, insert, select

from nearfeed_contracts.fields import MAX_ID, now_micros
from nearfeed_contracts.tables import audit
from nearfeed_runtime.operations import Listed, Said, Step, format_time
from nearfeed_runtime.sql import read_connection

_COLUMNS = ("number", "at (UTC)", "actor", "action", "target", "detail")


class Audited(NamedTuple):
    """A change that was made `at`, in microseconds since 1970; a later one has a higher number."""

    number: int
    at: int
    actor: str
    action: str
    target: str
    detail: dict[str, Any]


def put_audit(
    transaction: Connection, actor: str, action: str, target: str, detail: Mapping[str, Any]
) -> None:
    """Notes a change in its own transaction. `detail` is of JSON's types, and holds no secret.

    `action` names the kind of thing and the verb, such as `spaces.activate`.
    """
    row = {"at": now_micros(), "actor": actor[:MAX_ID], "action": action, "target": target}
    transaction.execute(insert(audit).values(**row, detail=orjson.dumps(dict(detail)).decode()))


def audited(connection: Connection, before: int | None, limit: int) -> list[Audited]:
    """The newest `limit` changes, newest first; with `before` only those of a lower number."""
    query = select(audit).order_by(audit.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.number < before)
    return [
        Audited(row.number, row.at, row.actor, row.action, row.target, orjson.loads(row.detail))
        for row in connection.execute(query)
    ]


def list_audit(engine: Engine, limit: int = 20, before: int | None = None) -> Iterator[Step]:
    """A table of the newest changes, newest first, as an operation."""
    with read_connection(engine) as connection:
        found = audited(connection, before, limit)
    yield Listed(_COLUMNS, tuple(map(_to_row, found)))
    if len(found) == limit:
        yield Said(f"Older ones: audit --before {found[-1].number}")


def machine_user() -> str:
    """The user of this machine who runs the process; the number of one without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _to_row(change: Audited) -> tuple[str, ...]:
    detail = orjson.dumps(change.detail).decode() if change.detail else ""
    return (str(change.number), format_time(change.at), change.actor, change.action, change.target, detail)
