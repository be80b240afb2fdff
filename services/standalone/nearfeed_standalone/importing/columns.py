"""Columns of many rows, checked together. What a check is not sure of it leaves to the row's model.

A check never lets pass what the model would refuse, nor makes of it another value.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from nearfeed_contracts.fields import MAX_ID, MAX_LABEL
from nearfeed_standalone.importing.graph_rows import (
    DEFAULT_SCORE,
    properties_text,
)

# What `nearfeed_contracts.fields.Id` forbids: all of \s in Python's Unicode, and control characters.
_FORBIDDEN = r"[\x00-\x20\x7f-\x9f\p{Z}]"
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class Checked(NamedTuple):
    """A value for each row, and the numbers of the rows where it counts for nothing."""

    values: list[Any]
    doubtful: list[int]


def ids(values: Sequence[Any]) -> Checked:
    return _texts(values, MAX_ID)


def labels(values: Sequence[Any]) -> Checked:
    return _texts(values, MAX_LABEL)


def scores(values: Sequence[Any]) -> Checked:
    found = [value if type(value) is float else _score(value) for value in values]
    return Checked(found, [number for number, value in enumerate(found) if not math.isfinite(value)])


def properties(values: Sequence[Any], missing: str | None = None) -> Checked:
    found = [missing if value is None or value == "" else _properties(value) for value in values]
    return Checked(found, [number for number, value in enumerate(found) if value == _DOUBTFUL])


_DOUBTFUL = ""


def _texts(values: Sequence[Any], longest: int) -> Checked:
    texts = [value if type(value) is str else _text(value) for value in values]
    array = pa.array(texts, pa.string())
    length = pc.utf8_length(array)
    short = pc.and_(pc.greater(length, 0), pc.less_equal(length, longest))
    good = pc.and_not(short, pc.match_substring_regex(array, _FORBIDDEN))
    return Checked(texts, pc.indices_nonzero(pc.invert(good)).to_pylist())


def _text(value: Any) -> str:
    return str(value) if type(value) is int else _DOUBTFUL


def _score(value: Any) -> float:
    if value is None or value == "":
        return DEFAULT_SCORE
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return math.nan


def _properties(value: Any) -> str:
    try:
        return properties_text(value)
    except ValueError:
        return _DOUBTFUL
