"""A document as its entries: the pages, providers, models and relations that have versions of their own."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args

import orjson

from nearfeed_contracts.errors import NotFoundError

EntryKind = Literal["page", "provider", "model", "relation"]
KINDS: tuple[EntryKind, ...] = get_args(EntryKind)
FEED = "feed"
Body = Mapping[str, Any]


class Entry(NamedTuple):
    """What names an entry."""

    kind: EntryKind
    name: str


class Change(NamedTuple):
    """What became of an entry; that of kind `feed` is named after the provider that it has now."""

    kind: EntryKind | Literal["feed"]
    name: str
    change: Literal["added", "changed", "removed"]


def section_of(kind: EntryKind) -> str:
    """The part of the document that has the entries of a kind."""
    return f"{kind}s"


def entries_of(document: Body) -> dict[Entry, str]:
    """The entries of a document, each as JSON: the order within an entry tells, that of entries does not."""
    return {
        Entry(kind, name): orjson.dumps(entry).decode()
        for kind in KINDS
        for name, entry in document.get(section_of(kind), {}).items()
    }


def changes_between(old: Body, new: Body) -> tuple[Change, ...]:
    """What is different in `new`, by kind and name; nothing where both mean the same."""
    return tuple(_changes(old, new))


def with_entry(document: Body, entry: Entry, body: Any) -> dict[str, Any]:
    """The document with one entry set to `body`."""
    section = section_of(entry.kind)
    return {**document, section: {**document.get(section, {}), entry.name: body}}


def without_entry(document: Body, entry: Entry) -> dict[str, Any]:
    """The document without an entry. Raises NotFoundError where it has none of that name."""
    section = section_of(entry.kind)
    entries = dict(document.get(section, {}))
    if entry.name not in entries:
        raise NotFoundError(f"There is no {entry.kind} {entry.name!r}.")
    del entries[entry.name]
    return {**document, section: entries}


def _changes(old: Body, new: Body) -> Iterator[Change]:
    before, after = entries_of(old), entries_of(new)
    for entry in sorted(before.keys() | after.keys()):
        if entry not in before:
            yield Change(*entry, "added")
        elif entry not in after:
            yield Change(*entry, "removed")
        elif before[entry] != after[entry]:
            yield Change(*entry, "changed")
    if old.get(FEED) != new.get(FEED):
        yield Change("feed", str(new.get(FEED)), "changed")
