"""What rankers know of posts beside what other models read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, select

from nearfeed_contracts.tables import items
from nearfeed_core.ranking_inputs import WeighedPost
from nearfeed_embedder.dataset import Dataset, Post, Rows, Weights
from nearfeed_runtime.sql import read_connection


@dataclass(frozen=True)
class Catalogue:
    """Posts in the order of a dataset, their authors, and when they appeared (n, microseconds since 1970)."""

    posts: list[Post]
    authors: list[str]
    published: NDArray[np.int64]

    def weighed(self, rows: Rows, weights: Weights) -> list[WeighedPost]:
        return [
            WeighedPost(float(weight), self.posts[row].community_id, self.authors[row], self.posts[row].tags)
            for row, weight in zip(rows.tolist(), weights, strict=True)
        ]


def read_catalogue(engine: Engine, dataset: Dataset) -> Catalogue:
    """Authors and times of a dataset's posts; one that has been deleted since is of nobody."""
    statement = select(items.c.item_id, items.c.author_id, items.c.published_at)
    with read_connection(engine) as connection:
        known = {row.item_id: (row.author_id, row.published_at) for row in connection.execute(statement)}
    told = [known.get(post.item_id, ("", 0)) for post in dataset.posts]
    return Catalogue(
        dataset.posts, [author for author, _ in told], np.array([at for _, at in told], np.int64)
    )
