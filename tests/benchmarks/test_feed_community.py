"""A synthetic community is the same for the same seed, and has what its description says."""

import numpy as np
from benchmarks.feed import community
from benchmarks.feed.community import Pairs, Posts
from benchmarks.feed.folders import member_rows, post_rows, user
from benchmarks.feed.heavy_users import NAMES, POSTS, make_heavy_users

_POSTS, _USERS = 3_000, 40


def test_the_same_seed_makes_the_same_community() -> None:
    one, other = _made(), _made()

    for first, second in zip(one, other, strict=True):
        assert vars(first).keys() == vars(second).keys()
        assert all(np.array_equal(vars(first)[name], vars(second)[name]) for name in vars(first))


def test_vectors_have_length_one_and_lie_near_those_of_their_topic() -> None:
    posts = community.make_posts(_POSTS)
    scores = posts.vectors @ posts.vectors.T
    same = posts.topics[:, None] == posts.topics[None, :]

    assert np.allclose(np.linalg.norm(posts.vectors, axis=1), 1, atol=1e-5)
    assert scores[same].mean() > scores[~same].mean() + 0.5


def test_users_read_and_join_what_is_there_once() -> None:
    posts, readings, memberships = _made()

    for pairs, above in ((readings, _POSTS), (memberships, community.COMMUNITIES)):
        assert pairs.users.max() < _USERS
        assert pairs.targets.max() < above
        assert len({*zip(pairs.users.tolist(), pairs.targets.tolist(), strict=True)}) == len(pairs.users)
    assert np.bincount(memberships.users).max() <= community.JOINED
    assert len(posts) == _POSTS


def test_heavy_users_have_as_much_as_their_names_say() -> None:
    zeros = np.zeros(POSTS, np.int64)
    posts = Posts(np.zeros((POSTS, 1), np.float32), zeros, zeros, zeros, zeros)
    heavy = make_heavy_users(posts, community.USERS)
    ids = [user(community.USERS + place) for place in range(len(NAMES))]

    assert ids == list(NAMES)
    assert int((heavy.readings.users == community.USERS).sum()) == NAMES["many-readings"]
    assert len(heavy.memberships.users) == NAMES["many-communities"]
    assert len(heavy.hidden.users) == NAMES["many-hidden"]


def test_rows_count_back_from_the_moment_at_which_they_are_made() -> None:
    now = 1_800_000_000_000_000
    posts, _, memberships = _made()

    published = [row["published_at"] for row in post_rows(posts, now)]
    joined = [row["joined_at"] for row in member_rows(memberships, now)]

    assert max(published) <= now
    assert min(published) >= now - community.POST_DAYS * 86_400_000_000
    assert len(joined) == len(memberships.users)


def _made() -> tuple[Posts, Pairs, Pairs]:
    posts = community.make_posts(_POSTS)
    readings = community.make_readings(posts, _USERS)
    return posts, readings, community.make_memberships(readings, posts, _USERS)
