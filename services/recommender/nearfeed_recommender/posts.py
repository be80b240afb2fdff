"""Posts as the feed shows them, read from SQL, and the last check of what a reader may see (rule: nobody
sees what they may not, even where the index lags)."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, select

from nearfeed_contracts.fields import from_micros, to_micros
from nearfeed_contracts.tables import interactions, items
from nearfeed_contracts.vector_store import Filter as SearchFilter
from nearfeed_core.readings import Reading
from nearfeed_recommender.config.schema import Filter, LanguageFilter
from nearfeed_recommender.providers.candidates import Facts
from nearfeed_recommender.readers.memberships import Controls, communities_of, controls_of
from nearfeed_recommender.readers.resets import reset_of
from nearfeed_recommender.readers.rows import standing_reading
from nearfeed_runtime.sql import chunks

_MOST_LOOKS = 10
_FACTS = tuple(items.c[name] for name in ("item_id", *Facts.__dataclass_fields__))


@dataclass(frozen=True)
class Post:
    """A post's metadata."""

    id: str
    community_id: str
    author_id: str
    title: str
    body: str
    tags: tuple[str, ...]
    language: str | None
    url: str | None
    published_at: datetime

    @property
    def facts(self) -> Facts:
        return Facts(
            self.community_id, self.author_id, to_micros(self.published_at), self.tags, self.language
        )


@dataclass(frozen=True)
class Audience:
    """What one reader may and wants to see now. `communities` None: all of them; `wanted` is their own wish.

    `history` has the reading of each post that they have met in some way, `excluded` are those that they
    have hidden, reported or rated low; `own` lets them see what they wrote.
    """

    user_id: str
    communities: frozenset[str] | None
    published_after: int | None
    seen: frozenset[str]
    controls: Controls
    excluded: frozenset[str] = frozenset()
    history: Mapping[str, Reading] = field(default_factory=dict)
    own: bool = False
    wanted: frozenset[str] | None = None
    joined: frozenset[str] = frozenset()
    languages: tuple[LanguageFilter, ...] = ()

    def relaxed(self, filters: Collection[Filter]) -> "Audience":
        """Without the filters membership, date, seen and own, as far as they are not among `filters`.

        Those by language hold as they are named.
        """
        return replace(
            self,
            communities=self.communities if "membership" in filters else self.wanted,
            published_after=self.published_after if "date" in filters else None,
            seen=self.seen if "seen" in filters else frozenset(),
            own="own" not in filters,
            languages=tuple(rule for rule in filters if isinstance(rule, LanguageFilter)),
        )

    def without(self, items: frozenset[str]) -> "Audience":
        """The same, but for some posts."""
        return replace(self, excluded=self.excluded | items) if items else self

    def filter(self) -> SearchFilter:
        """The part of it that a search can apply."""
        return SearchFilter(
            community_ids=self.communities,
            published_after=self.published_after,
            exclude_item_ids=self.seen | self.excluded | self.controls.items,
            exclude_author_ids=self.controls.authors | (frozenset() if self.own else {self.user_id}),
        )

    def allows(self, item_id: str, facts: Facts) -> bool:
        return (
            (self.communities is None or facts.community_id in self.communities)
            and (self.published_after is None or facts.published_at >= self.published_after)
            and item_id not in self.seen
            and item_id not in self.excluded
            and item_id not in self.controls.items
            and (self.own or facts.author_id != self.user_id)
            and facts.author_id not in self.controls.authors
            and self.controls.tags.isdisjoint(facts.tags)
            and all(_is_in(rule, facts.language) for rule in self.languages)
        )


def _is_in(rule: LanguageFilter, language: str | None) -> bool:
    """`en` has `en-GB` too, in any case (basic filtering, RFC 4647); an unknown language passes."""
    if language is None:
        return True
    parts = language.lower().split("-")
    prefixes = {"-".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return not prefixes.isdisjoint(wanted.lower() for wanted in rule.language)


def audience_of(
    connection: Connection, user_id: str, wanted: frozenset[str], published_after: int | None
) -> Audience:
    """Reads memberships, controls and seen posts. `wanted` narrows the communities; empty: no wish.

    A reader who has joined no community may see all.
    """
    joined = communities_of(connection, user_id)
    if joined and wanted:
        communities: frozenset[str] | None = joined & wanted
    else:
        communities = joined or wanted or None
    history = _history(connection, user_id)
    seen = frozenset(item for item, reading in history.items() if reading.is_seen())
    excluded = frozenset(item for item, reading in history.items() if reading.is_excluded())
    controls = controls_of(connection, user_id)
    return Audience(
        user_id,
        communities,
        published_after,
        seen,
        controls,
        excluded,
        history,
        wanted=wanted or None,
        joined=joined,
    )


def posts_by_id(connection: Connection, ids: Iterable[str]) -> dict[str, Post]:
    """Undeleted posts by id."""
    found: dict[str, Post] = {}
    for chunk in chunks(list(ids)):
        query = select(items).where(items.c.item_id.in_(chunk), items.c.deleted.is_(False))
        found.update({row.item_id: _post_of(row) for row in connection.execute(query)})
    return found


def facts_by_id(connection: Connection, ids: Iterable[str]) -> dict[str, Facts]:
    """What undeleted posts are, without their texts."""
    found: dict[str, Facts] = {}
    for chunk in chunks(list(ids)):
        query = select(*_FACTS).where(items.c.item_id.in_(chunk), items.c.deleted.is_(False))
        found.update({row.item_id: _facts_of(row) for row in connection.execute(query)})
    return found


def latest_posts(
    connection: Connection,
    audience: Audience,
    limit: int,
    facts_of: Callable[[Collection[str]], Mapping[str, Facts]],
    authors: frozenset[str] | None = None,
) -> list[str]:
    """Ids of the newest posts that the audience allows, newest first; of `authors` alone, if given.

    `facts_of` tells what undeleted posts are.
    """
    allowed: list[str] = []
    size = limit + len(audience.filter().exclude_item_ids)
    for number in range(_MOST_LOOKS):
        ids = _newest_ids(connection, audience, authors, number * size, size)
        facts = facts_of(ids)
        allowed += [item for item in ids if item in facts and audience.allows(item, facts[item])]
        if len(allowed) >= limit or len(ids) < size:
            break
    return allowed[:limit]


def _newest_ids(
    connection: Connection, audience: Audience, authors: frozenset[str] | None, start: int, size: int
) -> Sequence[str]:
    """Ids alone, which indexes have in this order: texts would make the server sort."""
    query = select(items.c.item_id)
    if audience.communities is not None:
        query = query.where(items.c.community_id.in_(audience.communities))
    if audience.published_after is not None:
        query = query.where(items.c.published_at >= audience.published_after)
    if authors is not None:
        query = query.where(items.c.author_id.in_(authors))
    newest_first = (items.c.published_at.desc(), items.c.item_id.desc())
    return connection.scalars(query.order_by(*newest_first).offset(start).limit(size)).all()


def has_posts_since(connection: Connection, audience: Audience, since: int) -> bool:
    """Whether the audience's communities have a post that was published at `since` or later."""
    query = select(items.c.item_id).where(items.c.deleted.is_(False), items.c.published_at >= since)
    if audience.communities is not None:
        query = query.where(items.c.community_id.in_(audience.communities))
    return connection.scalar(query.limit(1)) is not None


def _post_of(row: Row[Any]) -> Post:
    return Post(
        id=row.item_id,
        community_id=row.community_id,
        author_id=row.author_id,
        title=row.title,
        body=row.body,
        tags=tuple(orjson.loads(row.tags)),
        language=row.language,
        url=row.url,
        published_at=from_micros(row.published_at),
    )


def _facts_of(row: Row[Any]) -> Facts:
    tags = tuple(orjson.loads(row.tags))
    return Facts(row.community_id, row.author_id, row.published_at, tags, row.language)


def _history(connection: Connection, user_id: str) -> dict[str, Reading]:
    query = select(interactions, reset_of(user_id).label("reset_at")).where(interactions.c.user_id == user_id)
    met = {row["item_id"]: standing_reading(row) for row in connection.execute(query).mappings()}
    return {item: reading for item, reading in met.items() if reading.times}
