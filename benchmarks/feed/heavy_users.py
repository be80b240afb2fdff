"""Users who have much of one thing: readings, communities, hidden posts."""

from dataclasses import dataclass

import numpy as np

from benchmarks.feed import community
from benchmarks.feed.community import Pairs, Posts, pairs

READINGS, COMMUNITIES_JOINED, HIDDEN = 50_000, 300, 10_000
POSTS = 100_000  # of their community: twice as many as one of them has read
NAMES = {"many-readings": READINGS, "many-communities": COMMUNITIES_JOINED, "many-hidden": HIDDEN}


@dataclass(frozen=True)
class HeavyUsers:
    """What they do, numbered from `first` on in the order of NAMES."""

    readings: Pairs
    memberships: Pairs
    hidden: Pairs


def make_heavy_users(posts: Posts, first: int, seed: int = 3) -> HeavyUsers:
    """One has read half of all posts; the two others have as many readings as everybody."""
    generator = np.random.default_rng(seed)
    reader, member, hider = range(first, first + len(NAMES))

    def some(user: int, of: int, number: int) -> Pairs:
        return pairs(np.full(number, user), generator.choice(of, number, replace=False), generator)

    read = {reader: READINGS, member: community.READINGS, hider: community.READINGS}
    readings = [some(user, len(posts), number) for user, number in read.items()]
    return HeavyUsers(
        Pairs(
            np.concatenate([each.users for each in readings]),
            np.concatenate([each.targets for each in readings]),
            np.concatenate([each.ages for each in readings]),
        ),
        some(member, community.COMMUNITIES, COMMUNITIES_JOINED),
        some(hider, len(posts), HIDDEN),
    )
