"""A synthetic community of any size, made from a seed: posts around topics, users who read in some."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIM = 256
COMMUNITIES, AUTHORS = 400, 5_000
USERS, READINGS, JOINED = 5_000, 60, 40
POSTS_PER_TOPIC = 500
TOPICS_OF_A_USER = 5
POST_DAYS, READING_DAYS = 90, 30
_BLOCK = 50_000
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Posts:
    """`vectors` (n, DIM) float32 of length 1; the others (n): topic, community, author, age in minutes."""

    vectors: NDArray[np.float32]
    topics: Numbers
    communities: Numbers
    authors: Numbers
    ages: Numbers

    def __len__(self) -> int:
        return len(self.topics)


@dataclass(frozen=True)
class Pairs:
    """Users, what each has read, joined or hidden, and how many minutes ago. No pair is there twice."""

    users: Numbers
    targets: Numbers
    ages: Numbers


def make_posts(posts: int, seed: int = 0) -> Posts:
    """A tenth of a community's posts belongs to no topic of it, as in communities that people name."""
    generator = np.random.default_rng(seed)
    topics = max(50, posts // POSTS_PER_TOPIC)
    centres = generator.standard_normal((topics, DIM), dtype=np.float32)
    topic = generator.integers(topics, size=posts)
    stray = generator.random(posts) < 0.1
    community = np.where(stray, generator.integers(COMMUNITIES, size=posts), topic % COMMUNITIES)
    vectors = np.empty((posts, DIM), np.float32)
    for start in range(0, posts, _BLOCK):
        block = slice(start, min(start + _BLOCK, posts))
        around = 0.6 * generator.standard_normal((block.stop - start, DIM), dtype=np.float32)
        around += centres[topic[block]]
        vectors[block] = around / np.linalg.norm(around, axis=1, keepdims=True)
    return Posts(
        vectors,
        topic,
        community,
        generator.integers(AUTHORS, size=posts),
        generator.integers(POST_DAYS * 24 * 60, size=posts),
    )


def make_readings(posts: Posts, users: int = USERS, seed: int = 1) -> Pairs:
    """Each user reads posts of a few topics, and one post in ten of any."""
    generator = np.random.default_rng(seed)
    by_topic = np.argsort(posts.topics, kind="stable")
    starts = np.searchsorted(posts.topics[by_topic], np.arange(posts.topics.max() + 2))
    topics = generator.integers(len(starts) - 1, size=(users, TOPICS_OF_A_USER))
    chosen = np.take_along_axis(topics, generator.integers(TOPICS_OF_A_USER, size=(users, READINGS)), axis=1)
    sizes = np.maximum(1, starts[chosen + 1] - starts[chosen])
    places = starts[chosen] + (generator.random((users, READINGS)) * sizes).astype(np.int64)
    read = by_topic[np.minimum(places, len(posts) - 1)]
    read = np.where(generator.random(read.shape) < 0.1, generator.integers(len(posts), size=read.shape), read)
    return pairs(np.repeat(np.arange(users), READINGS), read.ravel(), generator)


def make_memberships(readings: Pairs, posts: Posts, users: int = USERS, seed: int = 2) -> Pairs:
    """The communities of the first posts that a user has read, and others up to `JOINED`."""
    generator = np.random.default_rng(seed)
    joined = np.argsort(generator.random((users, COMMUNITIES)), axis=1)[:, :JOINED]
    first = np.searchsorted(readings.users, np.arange(users))
    for place in range(TOPICS_OF_A_USER):
        joined[:, place] = posts.communities[readings.targets[first + place]]
    return pairs(np.repeat(np.arange(users), JOINED), joined.ravel(), generator)


def pairs(users: Numbers, targets: Numbers, generator: np.random.Generator) -> Pairs:
    """Each pair once, ordered by user, with an age by chance."""
    above = int(targets.max()) + 1
    both = np.unique(users * above + targets)
    ages = generator.integers(READING_DAYS * 24 * 60, size=len(both))
    return Pairs(both // above, both % above, ages)
