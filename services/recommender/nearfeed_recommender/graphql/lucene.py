"""Lucene's query syntax as a condition on the table of posts.

| field | matches |
|---|---|
| title, body | where the text contains the word or the phrase; without a field: either of the two |
| tags, community, author, language | where the whole value (one of the tags) is the word or the phrase |
| published_at | a time, a range `[2026-01 TO 2026-03}`, or a bound `>=2026-01-31` |

`*` stands for any characters and `?` for one; case does not matter. AND binds closer than OR. Without an
operator between them one of the words must match, unless some are marked: each `+word` must match, and no
`-word` may. What has no meaning without scores (boosts, fuzziness) is refused. Syntax:
https://lucene.apache.org/core/9_0_0/queryparser/org/apache/lucene/queryparser/classic/package-summary.html
"""

import re
from collections.abc import Callable
from typing import NoReturn

from luqum import tree
from luqum.exceptions import ParseError
from luqum.thread import parse
from sqlalchemy import ColumnElement, and_, not_, or_, true

from nearfeed_recommender.graphql.fields import (
    DEFAULT_FIELDS,
    FIELDS,
    PUBLISHED_AT,
    ArgumentError,
    Pattern,
    literal_pattern,
    wildcard_pattern,
)
from nearfeed_recommender.graphql.times import Bounds, span_of

ARGUMENT = "search"
MAX_LENGTH = 1_000
MAX_TERMS = 50
MAX_DEPTH = 20
_UNEXPECTED = re.compile(r"unexpected\s+'(.*)' at position (\d+)", re.DOTALL)
_ILLEGAL = re.compile(r"Illegal character '(.).*' at position (\d+)", re.DOTALL)
_OTHER_OPERATORS = re.compile(r"&&$|\|\|$|!")

Condition = ColumnElement[bool]


def condition_of(search: str, dialect: str) -> Condition:
    """The posts that a search matches, on the SQL dialect of that name. Raises ArgumentError."""
    if len(search) > MAX_LENGTH:
        raise ArgumentError(ARGUMENT, f"has more than {MAX_LENGTH:,} characters")
    query = _parsed(search)
    if _terms(query) > MAX_TERMS:
        raise ArgumentError(ARGUMENT, f"has more than {MAX_TERMS} words and phrases")
    return _Translation(dialect).of(query, None, 0)


def _parsed(search: str) -> tree.Item:
    if not search.strip():
        raise ArgumentError(ARGUMENT, "is empty; leave it out for all posts")
    try:
        return parse(search)
    except ParseError as error:
        raise ArgumentError(ARGUMENT, _explained(str(error))) from None


def _explained(fault: str) -> str:
    for pattern in (_UNEXPECTED, _ILLEGAL):
        if found := pattern.search(fault):
            return _at(int(found[2]), f"{found[1]!r} is not expected")
    return "ends too early, or a bracket is not closed"


def _terms(node: tree.Item) -> int:
    """Words and phrases; as deep as a search can be nested within its length, so without recursion."""
    count, waiting = 0, [node]
    while waiting:
        found = waiting.pop()
        count += isinstance(found, tree.Term)
        waiting.extend(found.children)
    return count


def _at(position: int, fault: str) -> str:
    return f"{fault}, at character {position + 1}"


def _refuse(node: tree.Item, fault: str) -> NoReturn:
    raise ArgumentError(ARGUMENT, _at(node.pos, fault))


class _Translation:
    """The visitor: a method per kind of node, in a table."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._methods: dict[type[tree.Item], Callable[..., Condition]] = {
            tree.AndOperation: self._and,
            tree.OrOperation: self._or,
            tree.UnknownOperation: self._clauses,
            tree.Group: self._inner,
            tree.FieldGroup: self._inner,
            tree.Plus: self._inner,
            tree.Not: self._not,
            tree.Prohibit: self._not,
            tree.SearchField: self._field,
            tree.Word: self._word,
            tree.Phrase: self._phrase,
            tree.Range: self._range,
            tree.From: self._from,
            tree.To: self._to,
        }

    def of(self, node: tree.Item, field: str | None, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            _refuse(node, f"is nested more than {MAX_DEPTH} deep")
        if type(node) not in self._methods:
            _refuse(node, f"{type(node).__name__.lower()} is not supported; use words, phrases, * and ?")
        return self._methods[type(node)](node, field, depth + 1)

    def _each(self, node: tree.Item, field: str | None, depth: int) -> list[Condition]:
        return [self.of(child, field, depth) for child in node.children]

    def _and(self, node: tree.Item, field: str | None, depth: int) -> Condition:
        return and_(*self._each(node, field, depth))

    def _or(self, node: tree.Item, field: str | None, depth: int) -> Condition:
        return or_(*self._each(node, field, depth))

    def _inner(self, node: tree.Item, field: str | None, depth: int) -> Condition:
        return self.of(node.children[0], field, depth)

    def _not(self, node: tree.Item, field: str | None, depth: int) -> Condition:
        return not_(self._inner(node, field, depth))

    def _clauses(self, node: tree.Item, field: str | None, depth: int) -> Condition:
        """What is marked by + decides, else one of the others; what is marked by - or NOT never matches."""
        found = list(zip(node.children, self._each(node, field, depth), strict=True))
        must = [each for child, each in found if isinstance(child, tree.Plus)]
        must_not = [each for child, each in found if isinstance(child, tree.Prohibit | tree.Not)]
        should = [
            each for child, each in found if not isinstance(child, tree.Plus | tree.Prohibit | tree.Not)
        ]
        wanted = must or ([or_(*should)] if should else [])
        return and_(*wanted, *must_not)

    def _field(self, node: tree.SearchField, _field: str | None, depth: int) -> Condition:
        if node.name not in FIELDS and node.name not in PUBLISHED_AT:
            names = ", ".join([*FIELDS, PUBLISHED_AT[0]])
            _refuse(node, f"there is no field {node.name!r}; there are {names}")
        return self.of(node.expr, node.name, depth)

    def _word(self, node: tree.Word, field: str | None, _depth: int) -> Condition:
        if _OTHER_OPERATORS.match(node.value):
            _refuse(node, f"{node.value!r} is no operator here; write AND, OR and NOT")
        if field in PUBLISHED_AT:
            return true() if node.value == "*" else self._within(node, span_of(node.unescaped_value))
        return self._matching(field, wildcard_pattern(node.value))

    def _phrase(self, node: tree.Phrase, field: str | None, _depth: int) -> Condition:
        text = node.unescaped_value[1:-1]
        if field in PUBLISHED_AT:
            return self._within(node, span_of(text))
        return self._matching(field, literal_pattern(text))

    def _matching(self, field: str | None, pattern: Pattern) -> Condition:
        names = DEFAULT_FIELDS if field is None else (field,)
        return or_(*(FIELDS[name](pattern, self._dialect) for name in names))

    def _range(self, node: tree.Range, field: str | None, _depth: int) -> Condition:
        low, high = self._bound(node, node.low, field), self._bound(node, node.high, field)
        return and_(
            low.from_(inclusive=node.include_low) if low else true(),
            high.up_to(inclusive=node.include_high) if high else true(),
        )

    def _from(self, node: tree.From, field: str | None, _depth: int) -> Condition:
        bound = self._bound(node, node.a, field)
        return bound.from_(inclusive=node.include) if bound else true()

    def _to(self, node: tree.To, field: str | None, _depth: int) -> Condition:
        bound = self._bound(node, node.a, field)
        return bound.up_to(inclusive=node.include) if bound else true()

    def _bound(self, range_: tree.Item, node: tree.Item, field: str | None) -> Bounds | None:
        """The time of a bound; None for `*`."""
        if field not in PUBLISHED_AT:
            _refuse(range_, f"a range needs the field {PUBLISHED_AT[0]}")
        if not isinstance(node, tree.Term):
            _refuse(range_, "a bound of a range is no time")
        if node.value == "*":
            return None
        text = node.unescaped_value
        return self._known(node, span_of(text[1:-1] if isinstance(node, tree.Phrase) else text))

    def _within(self, node: tree.Term, bounds: Bounds | None) -> Condition:
        known = self._known(node, bounds)
        return and_(known.from_(inclusive=True), known.up_to(inclusive=True))

    def _known(self, node: tree.Term, bounds: Bounds | None) -> Bounds:
        if bounds is None:
            _refuse(
                node,
                f"{node.value} is no time; write a year, a month, a day, or ISO 8601 with a zone in quotes",
            )
        return bounds
