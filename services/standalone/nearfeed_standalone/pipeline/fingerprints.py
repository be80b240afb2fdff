"""What the outcome of a step depends on, as a digest: equal digests promise equal outcomes."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Engine, Table, case, func, select

from nearfeed_contracts.events import KINDS
from nearfeed_contracts.runs import Manifest
from nearfeed_contracts.tables import interactions, items, memberships, served_requests
from nearfeed_runtime.sql import read_connection

Json = dict[str, Any]
READINGS = (items, interactions)
ALL_DATA = (*READINGS, memberships, served_requests)
_PRIME = 1_000_003  # remainders of microseconds by it can be summed over 10^12 rows
_TIMES = {
    items: [items.c.version],
    interactions: [interactions.c[f"{kind}_at"] for kind in KINDS],
    memberships: [memberships.c.joined_at],
    served_requests: [served_requests.c.served_at],
}


def digest(inputs: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON object, in hex; the order of names does not count."""
    return hashlib.sha256(orjson.dumps(inputs, option=orjson.OPT_SORT_KEYS)).hexdigest()


def digest_of_run(manifest: Manifest) -> str:
    """Of what a run holds, by the checksums of its files."""
    return digest({"space": manifest.space, "files": manifest.checksums})


def data_in(engine: Engine, tables: Sequence[Table] = READINGS) -> Json:
    """What tells the rows of tables from those of another time: numbers of them, newest times, sums.

    Reads each table once. A change of a row changes a version or a time in it, and so a sum.
    """
    with read_connection(engine) as connection:
        return {str(table.name): _counts(connection, table) for table in tables}


def _counts(connection: Connection, table: Table) -> list[int]:
    row = connection.execute(select(func.count(), *_figures(table)).select_from(table)).one()
    return [int(value or 0) for value in row]


def _figures(table: Table) -> Iterator[ColumnElement[Any]]:
    for column in _TIMES[table]:
        yield from (func.count(column), func.max(column), func.sum(column % _PRIME))
    if table is items:
        yield func.sum(case((items.c.deleted, 1), else_=0))
    if table is interactions:
        yield func.sum(func.round(interactions.c.rating_value * 1_000))
