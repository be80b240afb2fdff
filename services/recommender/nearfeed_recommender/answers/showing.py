"""What goes out: entries of a ranking become posts with reasons, checked against SQL once more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import Connection

from nearfeed_recommender.answers.rankings import Entry
from nearfeed_recommender.answers.reasons import BY_READINGS, Reason, closest_readings, reason_for
from nearfeed_recommender.posts import Audience, Post, posts_by_id
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving


class Visible(NamedTuple):
    """An entry whose post may be seen, and its position in the ranking, from 0."""

    position: int
    entry: Entry
    post: Post


@dataclass(frozen=True)
class ShownPost:
    """A post in an answer, with the entry of the ranking that brought it and its position there, and why."""

    post: Post
    entry: Entry
    position: int
    reason: Reason


def visible_from(
    connection: Connection,
    audience: Audience,
    entries: Sequence[Entry],
    position: int,
    limit: int,
    at_hand: Mapping[str, Post] = MappingProxyType({}),
) -> tuple[list[Visible], int]:
    """Up to `limit` posts from `position` on, and the position after them.

    Posts that may not be seen are passed over, and the page is filled up. `at_hand` are posts that have
    just been read.
    """
    shown: list[Visible] = []
    while position < len(entries) and len(shown) < limit:
        batch = entries[position : position + limit - len(shown)]
        posts = posts_by_id(connection, [entry.item_id for entry in batch if entry.item_id not in at_hand])
        for place, entry in enumerate(batch, position):
            post = posts.get(entry.item_id) or at_hand.get(entry.item_id)
            if post is not None and audience.allows(post.id, post.facts):
                shown.append(Visible(place, entry, post))
        position += len(batch)
    return shown, position


def with_reasons(
    serving: Serving, connection: Connection, request: Request, shown: Sequence[Visible]
) -> list[ShownPost]:
    """Each post with its reason; where that is a reading, with the closest one."""
    personal = [each.entry.item_id for each in shown if each.entry.kind in BY_READINGS]
    closest: dict[str, str] = {}
    if request.space and personal:
        contexts = serving.contexts.of(request.space, [*(item for item, _ in request.readings), *personal])
        readings = {item: contexts[item] for item, _ in request.readings if item in contexts}
        closest = closest_readings(readings, {item: contexts[item] for item in personal if item in contexts})
    read = posts_by_id(connection, set(closest.values()))
    return [
        ShownPost(post, entry, position, reason_for(entry.kind, post, read.get(closest.get(post.id, ""))))
        for position, entry, post in shown
    ]
