"""Why a post is in the feed: the read post that is closest to it, or the list it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nearfeed_core.directions import unit_rows
from nearfeed_recommender.config.schema import Source, VectorsSource
from nearfeed_recommender.posts import Post
from nearfeed_recommender.readers.profiles import Vector

BY_READINGS = ("close_to_read", "read_by_others", "new")
"""The kinds of reason that name the closest reading."""
_KINDS = {
    "similar": "close_to_read",
    "neighbours": "read_by_others",
    "walk": "read_by_others",
    "lists": "chosen",
    "popular": "popular",
    "latest": "latest",
    "followed": "followed",
    "newcomers": "newcomer",
    "picks": "pick",
}


@dataclass(frozen=True)
class Reason:
    """`kind` is one of `kind_of`; `item_id` names the closest read post."""

    kind: str
    text: str
    item_id: str | None = None


def closest_readings(read: Mapping[str, Vector], shown: Mapping[str, Vector]) -> dict[str, str]:
    """For each shown post the id of the reading whose context has the highest cosine with its own.

    Both have contexts (dim) by post.
    """
    if not read or not shown:
        return {}
    readings, posts = (unit_rows(np.stack(list(each.values()))) for each in (read, shown))
    ids = list(read)
    return {item: ids[index] for item, index in zip(shown, (posts @ readings.T).argmax(axis=1), strict=True)}


def kind_of(source: Source) -> str:
    """The kind of reason that a source's posts have."""
    if isinstance(source, VectorsSource):
        return "new" if source.hours is not None else "close_to_read"
    return _KINDS[source.type]


def reason_for(kind: str, post: Post, read: Post | None) -> Reason:
    """The reason of a kind; `read` is the closest reading of the reader, if there is one."""
    item_id = read.id if read else None
    match kind:
        case "close_to_read":
            return Reason(
                kind, f"Because you read {read.title}" if read else "Close to what you read", item_id
            )
        case "read_by_others":
            return Reason(kind, "Read by those who read what you read", item_id)
        case "new" | "latest":
            return Reason(kind, f"New in {post.community_id}", item_id)
        case "popular":
            return Reason(kind, f"Popular in {post.community_id}")
        case "followed":
            return Reason(kind, f"By {post.author_id}, whom you follow")
        case "newcomer":
            return Reason(kind, f"By {post.author_id}, who has just begun")
        case "pick":
            return Reason(kind, "Picked by the editors")
        case _:
            return Reason(kind, "Chosen for you")
