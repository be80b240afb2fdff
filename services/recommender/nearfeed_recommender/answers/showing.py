"""What goes out: entries of a ranking become posts with reasons, checked against SQL once more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy import Connection

from nearfeed_recommender.answers.rankings import Entry
from nearfeed_recommender.answers.reasons import BY_READINGS, Reason, closest_readings, reason_for
from nearfeed_recommender.posts import Audience, Post, posts_by_id
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving


@dataclass(frozen=True)
class ShownPost:
    """A post in an answer, with the entry of the ranking that brought it, and why it is there."""

    post: Post
    entry: Entry
    reason: Reason


def visible_from(
    connection: Connection,
    audience: Audience,
    entries: Sequence[Entry],
    position: int,
    limit: int,
    at_hand: Mapping[str, Post] = MappingProxyType({}),
) -> tuple[list[tuple[Entry, Post]], int]:
    """Up to `limit` posts from `position` on, and the position after them.

    Posts that may not be seen are passed over, and the page is filled up. `at_hand` are posts that have
    just been read.
    """
    shown: list[tuple[Entry, Post]] = []
    while position < len(entries) and len(shown) < limit:
        batch = entries[position : position + limit - len(shown)]
        posts = posts_by_id(connection, [entry.item_id for entry in batch if entry.item_id not in at_hand])
        for entry in batch:
            post = posts.get(entry.item_id) or at_hand.get(entry.item_id)
            if post is not None and audience.allows(post.id, post.facts):
                shown.append((entry, post))
        position += len(batch)
    return shown, position


def with_reasons(
    serving: Serving, connection: Connection, request: Request, shown: Sequence[tuple[Entry, Post]]
) -> list[ShownPost]:
    """Each post with its reason; where that is a reading, with the closest one."""
    personal = [entry.item_id for entry, _ in shown if entry.kind in BY_READINGS]
    closest: dict[str, str] = {}
    if request.space and personal:
        contexts = serving.contexts.of(request.space, [*(item for item, _ in request.readings), *personal])
        readings = {item: contexts[item] for item, _ in request.readings if item in contexts}
        closest = closest_readings(readings, {item: contexts[item] for item in personal if item in contexts})
    read = posts_by_id(connection, set(closest.values()))
    return [
        ShownPost(post, entry, reason_for(entry.kind, post, read.get(closest.get(post.id, ""))))
        for entry, post in shown
    ]
