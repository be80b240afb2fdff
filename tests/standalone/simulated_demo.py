"""`nearfeed demo --simulate` on few readers, with vectors that stand for a training.

Arguments: those of `nearfeed demo`.
"""

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from nearfeed_contracts.runs import Block, Manifest, run_url, write_manifest, write_vectors
from nearfeed_standalone.cli import make_app
from nearfeed_standalone.demo import files, steps
from nearfeed_standalone.demo.films import films_of, load_ratings

READERS = 24


@cache
def few_ratings() -> pl.DataFrame:
    """Those of readers who have enough of them for a part to be held out."""
    ratings = load_ratings()
    counts = ratings.group_by("userId").len().filter(pl.col("len").is_between(42, 60))
    return ratings.filter(pl.col("userId").is_in(counts["userId"].sort().head(READERS).implode()))


def train(data_dir: Path, _options: Mapping[str, Any]) -> None:
    """Writes vectors at random."""
    url = run_url(f"file://{data_dir}/runs", "random-1")
    ids = films_of(few_ratings(), 0).items["item_id"].to_list()
    vectors = np.random.default_rng(0).normal(size=(len(ids), 8)).astype(np.float32)
    write_vectors(url, ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    blocks = (Block(start=0, dim=8, normalize=True),)
    made = Manifest(space="random-1", model="random", dim=8, blocks=blocks, created_at=datetime.now(UTC))
    write_manifest(url, made)


if __name__ == "__main__":
    os.environ["NEARFEED_VECTORS_URL"] = "memory://"
    files.load_ratings = few_ratings
    steps.train = train
    make_app()(["demo", *sys.argv[1:]])
