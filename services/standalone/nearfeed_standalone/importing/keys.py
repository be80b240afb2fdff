"""Keys of rows: how they are kept, shown, and compared in SQL."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Any

import orjson
from sqlalchemy import ColumnClause, ColumnElement, and_, literal, or_

Key = tuple[Any, ...]
_LATE_SECONDS = 600
_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "decimal": Decimal,
    "bytes": bytes.fromhex,
}


def encode_key(key: Key) -> str:
    """JSON that `decode_key` reads. Raises ValueError for a value that has no order to go on after."""
    return orjson.dumps([_encoded(value) for value in key], option=orjson.OPT_PASSTHROUGH_DATETIME).decode()


def decode_key(text: str) -> Key:
    """The inverse of `encode_key`."""
    return tuple(_decoded(value) for value in orjson.loads(text))


def shown(names: Sequence[str], key: Key) -> dict[str, Any]:
    """A key for the operator: its columns with their values."""
    return {
        name: value if isinstance(value, int | str) else _text_of(value)
        for name, value in zip(names, key, strict=True)
    }


def after(columns: Sequence[ColumnClause[Any]], key: Key) -> ColumnElement[bool]:
    """Rows behind a key; one that is shorter than the columns is compared by its first ones."""
    first, value = columns[0], literal(key[0])
    if len(key) == 1:
        return first > value
    # The first condition alone lets a database use its index; not all do so by the second.
    return and_(first >= value, or_(first > value, after(columns[1:], key[1:])))


def up_to(columns: Sequence[ColumnClause[Any]], key: Key) -> ColumnElement[bool]:
    """Rows before a key, and its own."""
    first, value = columns[0], literal(key[0])
    if len(key) == 1:
        return first <= value
    return and_(first <= value, or_(first < value, up_to(columns[1:], key[1:])))


def stepped_back(key: Key, overlap: float | None) -> Key:
    """Where to go on when a finished import is begun again. Raises ValueError where that has no meaning."""
    first = key[0]
    if overlap == 0:
        return key
    if isinstance(first, datetime):
        return (first - timedelta(seconds=_LATE_SECONDS if overlap is None else overlap),)
    if overlap is None:
        return key
    if isinstance(first, int | float):
        return (first - ceil(overlap),)
    if isinstance(first, Decimal):
        return (first - Decimal(overlap),)
    raise ValueError("the key does not begin with a time or number, so there is no overlap")


def _encoded(value: Any) -> Any:
    if isinstance(value, bool | int | float | str):
        return value
    for kind, form in (
        ("datetime", datetime),
        ("date", date),
        ("decimal", Decimal),
        ("bytes", bytes | bytearray),
    ):
        if isinstance(value, form):
            return {kind: _text_of(value)}
    raise ValueError(
        f"a value of type {type(value).__name__} is no key; name a column of numbers, texts or times"
    )


def _decoded(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, text),) = value.items()
    return _FROM_TEXT[kind](text)


def _text_of(value: Any) -> str:
    match value:
        case datetime() | date():
            return value.isoformat()
        case bytes() | bytearray():
            return value.hex()
    return str(value)
