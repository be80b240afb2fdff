"""What goes out: entries of a ranking become posts with reasons, checked against SQL once more."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from nearfeed_recommender.posts import Audience, Post, posts_by_id, visible_posts
from nearfeed_recommender.profiles import Profile
from nearfeed_recommender.providers.contexts import contexts_of
from nearfeed_recommender.rankings import Entry
from nearfeed_recommender.reasons import BY_READINGS, Reason, closest_readings, reason_for
from nearfeed_recommender.user_vectors import Pooling


@dataclass(frozen=True)
class ShownPost:
    """A post in an answer, with the entry of the ranking that brought it, and why it is there."""

    post: Post
    entry: Entry
    reason: Reason


def visible_from(
    connection: Connection, audience: Audience, entries: Sequence[Entry], position: int, limit: int
) -> tuple[list[tuple[Entry, Post]], int]:
    """Up to `limit` posts from `position` on, and the position after them.

    Posts that may not be seen are passed over, and the page is filled up.
    """
    shown: list[tuple[Entry, Post]] = []
    while position < len(entries) and len(shown) < limit:
        batch = entries[position : position + limit - len(shown)]
        posts = visible_posts(connection, audience, [entry.item_id for entry in batch])
        shown += [(entry, posts[entry.item_id]) for entry in batch if entry.item_id in posts]
        position += len(batch)
    return shown, position


def with_reasons(
    pooling: Pooling,
    connection: Connection,
    profile: Profile | None,
    space: str | None,
    shown: Sequence[tuple[Entry, Post]],
) -> list[ShownPost]:
    """Each post with its reason; where that is a reading, with the closest one."""
    personal = [entry.item_id for entry, _ in shown if entry.kind in BY_READINGS]
    closest: dict[str, str] = {}
    if space and profile and personal:
        closest = closest_readings(profile, contexts_of(pooling, connection, space, personal))
    read = posts_by_id(connection, set(closest.values()))
    return [
        ShownPost(post, entry, reason_for(entry.kind, post, read.get(closest.get(post.id, ""))))
        for entry, post in shown
    ]
