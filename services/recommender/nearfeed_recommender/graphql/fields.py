"""The fields of a post that a search can ask, each as a condition by a pattern of LIKE."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, and_, exists, func, select
from sqlalchemy.sql.functions import FunctionElement

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.tables import items


class ArgumentError(NearfeedError):
    """An argument that cannot be answered; the text begins with its name.

    GraphQL copies `extensions` into the error that the client gets.
    """

    def __init__(self, argument: str, fault: str) -> None:
        super().__init__(f"{argument}: {fault}")
        self.extensions = {"argument": argument}


_ESCAPE = "!"
_PART = re.compile(r"\\(?P<escaped>.)|(?P<wildcard>[*?])|(?P<plain>.)", re.DOTALL)
_WILDCARDS = {"*": "%", "?": "_"}


class Pattern(NamedTuple):
    """Lower case, in LIKE's syntax, with `!` before what is meant as it is."""

    like: str

    @property
    def within(self) -> str:
        return f"%{self.like}%"


def wildcard_pattern(word: str) -> Pattern:
    r"""The pattern of a word in which `*` and `?` are wildcards, unless a `\` stands before them."""
    parts = _PART.finditer(word.lower())
    return Pattern("".join(_WILDCARDS.get(part["wildcard"]) or _literal(part) for part in parts))


def literal_pattern(text: str) -> Pattern:
    """The pattern of a text as it is."""
    return Pattern("".join(map(_escaped, text.lower())))


def _literal(part: re.Match[str]) -> str:
    return _escaped(part["escaped"] or part["plain"])


def _escaped(character: str) -> str:
    return f"{_ESCAPE}{character}" if character in f"%_{_ESCAPE}" else character


def _contains(column: Column[Any]) -> Callable[[Pattern, str], ColumnElement[bool]]:
    return lambda pattern, _: func.lower(column).like(pattern.within, escape=_ESCAPE)


def _is(column: Column[Any]) -> Callable[[Pattern, str], ColumnElement[bool]]:
    return lambda pattern, _: and_(column.is_not(None), func.lower(column).like(pattern.like, escape=_ESCAPE))


def _has_tag(pattern: Pattern, dialect: str) -> ColumnElement[bool]:
    if dialect == "sqlite":
        tag = func.json_each(items.c.tags).table_valued("value", name="tag")
        matches = func.lower(tag.c.value).like(pattern.like, escape=_ESCAPE)
        return exists(select(1).select_from(tag).where(matches).correlate(items))
    found: FunctionElement[Any] = func.json_search(func.lower(items.c.tags), "one", pattern.like, _ESCAPE)
    return found.is_not(None)


FIELDS: dict[str, Callable[[Pattern, str], ColumnElement[bool]]] = {
    "title": _contains(items.c.title),
    "body": _contains(items.c.body),
    "tags": _has_tag,
    "community": _is(items.c.community_id),
    "author": _is(items.c.author_id),
    "language": _is(items.c.language),
}
DEFAULT_FIELDS = ("title", "body")
PUBLISHED_AT = ("published_at", "publishedAt")
