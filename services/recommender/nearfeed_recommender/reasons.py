"""Why a post is in the feed: the read post that is closest to it, or the list it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nearfeed_recommender.posts import Post
from nearfeed_recommender.profiles import Profile, Vector


@dataclass(frozen=True)
class Reason:
    """`kind` is close_to_read, new, popular or latest; `item_id` names the closest read post."""

    kind: str
    text: str
    item_id: str | None = None


def closest_readings(profile: Profile, shown: Mapping[str, Vector]) -> dict[str, str]:
    """For each shown post the id of the reading whose context has the highest cosine with its own.

    `shown` has contexts (dim) by post. Readings of weight 0 are no reasons.
    """
    counted = [index for index, weight in enumerate(profile.weights) if weight > 0]
    if not counted or not shown:
        return {}
    readings = _unit(profile.contexts[counted])
    posts = _unit(np.stack(list(shown.values())))
    best = (posts @ readings.T).argmax(axis=1)
    return {item: profile.item_ids[counted[index]] for item, index in zip(shown, best, strict=True)}


def reason_for(source: str, post: Post, read: Post | None) -> Reason:
    if source == "personal" and read is not None:
        return Reason("close_to_read", f"Because you read {read.title}", read.id)
    if source == "new":
        return Reason("new", f"New in {post.community_id}", read.id if read else None)
    if source == "latest":
        return Reason("latest", f"New in {post.community_id}")
    if source == "popular":
        return Reason("popular", f"Popular in {post.community_id}")
    return Reason(source, "Close to what you read")


def _unit(rows: Vector) -> Vector:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1), dtype=np.float32)
