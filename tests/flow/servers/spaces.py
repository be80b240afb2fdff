"""A second run beside the first, and the scores that a space must give."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from benchmarks.installation import Installation
from sqlalchemy import select

from nearfeed_backends.opening import open_database, open_store
from nearfeed_contracts.runs import open_run, write_manifest, write_vectors
from nearfeed_contracts.tables import user_vectors
from nearfeed_runtime.sql import read_connection

Vectors = dict[str, np.ndarray]


def write_half_of(whole: str, url: str) -> str:
    """Writes a run of the first half of the first block, without an encoder; returns its space.

    The later dimensions of the linear block are 0 where readers are few, so half of all could be all.
    """
    run = open_run(whole)
    first = run.manifest.blocks[0]
    dim = first.dim // 2
    batches = list(run.vector_batches())
    write_vectors(
        url,
        [item for batch in batches for item in batch.item_ids],
        np.concatenate([batch.vectors[:, :dim] for batch in batches]),
        contexts=np.concatenate([batch.contexts[:, :dim] for batch in batches]),
    )
    blocks = (first.model_copy(update={"dim": dim}),)
    changes = {"space": f"{run.manifest.space}-half", "dim": dim, "blocks": blocks, "checksums": {}}
    return write_manifest(url, run.manifest.model_copy(update=changes)).space


@dataclass(frozen=True)
class Scores:
    """The stored vectors of a space's readers and of some of its posts."""

    readers: Vectors
    posts: Vectors

    def of(self, reader: str, post: str) -> float:
        return float(self.readers[reader] @ self.posts[post])


def scores_of(installation: Installation, space: str, posts: Iterable[str]) -> Scores:
    """What was stored, read from SQL and from the vector server itself."""
    engine = open_database(installation.database_url)
    query = select(user_vectors.c.user_id, user_vectors.c.vector).where(user_vectors.c.space == space)
    with read_connection(engine) as connection:
        readers = {row.user_id: np.frombuffer(row.vector, "<f4") for row in connection.execute(query)}
    engine.dispose()
    with closing(open_store(installation.vectors_url)) as store:
        return Scores(readers, dict(store.fetch(space, sorted(posts))))
