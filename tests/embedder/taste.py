"""A small community with three tastes, in memory and in SQL."""

from collections.abc import Sequence

import numpy as np
import orjson
from sqlalchemy import Engine

from nearfeed_contracts.events import KINDS
from nearfeed_contracts.tables import interactions, items
from nearfeed_core.readings import DAY_MICROS
from nearfeed_embedder.dataset import Dataset, Post, Readings

WORDS = (
    ["goal", "match", "league", "striker", "keeper", "pitch"],
    ["oven", "butter", "dough", "sugar", "flour", "pan"],
    ["galaxy", "orbit", "comet", "planet", "lens", "star"],
)
ALL_WORDS = [word for words in WORDS for word in words]
TASTES = len(WORDS)


def taste_of(post: int) -> int:
    return post % TASTES


def make_posts(count: int = 120, seed: int = 0) -> list[Post]:
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS[taste_of(post)], 4)) for post in range(count)]
    return [Post(f"p{post:03d}", f"c{post % 2}", (), text) for post, text in enumerate(texts)]


def bag_of_words(posts: list[Post]) -> np.ndarray:
    """Unit rows, or 0 for a post without any of the words."""
    counts = np.array([[post.text.split().count(word) for word in ALL_WORDS] for post in posts], np.float32)
    return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1)


def make_readings(readers: int = 60, posts: int = 120, each: int = 30, seed: int = 0) -> Readings:
    """Readers read posts of their taste nine times in ten, all through a hundred days."""
    rng = np.random.default_rng(seed)
    rows = []
    for reader in range(readers):
        own = np.array([taste_of(post) == reader % TASTES for post in range(posts)])
        chance = np.where(own, 0.9 / own.sum(), 0.1 / (~own).sum())
        read = rng.choice(posts, each, replace=False, p=chance)
        days = np.sort(rng.choice(100 * 24, each, replace=False)) / 24
        rows += [(reader, post, int(day * DAY_MICROS)) for post, day in zip(read, days, strict=True)]
    reader_column, item, time = (np.array(column) for column in zip(*rows, strict=True))
    return Readings(reader_column, item, time, np.ones(len(rows))).sorted()


def make_dataset(**sizes: int) -> Dataset:
    readings = make_readings(**sizes)
    posts = make_posts(sizes.get("posts", 120))
    return Dataset(posts, np.ones(len(posts), np.int64), readings, half_life_days=90.0)


def put_posts(engine: Engine, posts: Sequence[Post], *, version: int = 1, deleted: bool = False) -> None:
    rows = [
        {
            "item_id": post.item_id,
            "version": version,
            "deleted": deleted,
            "community_id": post.community_id,
            "author_id": "author",
            "title": post.text,
            "body": "",
            "tags": orjson.dumps(post.tags).decode(),
            "language": None,
            "url": None,
            "published_at": DAY_MICROS,
        }
        for post in posts
    ]
    with engine.begin() as transaction:
        transaction.execute(items.delete().where(items.c.item_id.in_([row["item_id"] for row in rows])))
        transaction.execute(items.insert(), rows)


def put_readings(engine: Engine, posts: Sequence[Post], readings: Readings) -> None:
    """Readings as `read` events, which weigh 1."""
    rows = [
        {f"{kind}_at": None for kind in KINDS}
        | {"user_id": f"u{reader:03d}", "item_id": posts[item].item_id, "rating_value": None}
        | {"read_at": int(time), "newest_at": int(time)}
        for reader, item, time in zip(readings.reader, readings.item, readings.time, strict=True)
    ]
    with engine.begin() as transaction:
        transaction.execute(interactions.insert(), rows)
