"""Measures how fast posts get vectors on the CPU, and writes benchmarks/results/text_speed.csv.

    python -m benchmarks.text_speed [--texts FILE] [--posts 10000] [--calls 300]

Texts are lines of JSON with `text`, or the titles of the demo's films. Embedding is what training does with
all posts. Re-embedding one that has changed is what the streaming embedder does: text model, PinSage, the map
to the linear part, and what readers had added. The networks have the sizes of the defaults and weights that
nobody has trained, which take the same time.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from benchmarks.measures import Row
from benchmarks.results_file import load_average, put_rows
from nearfeed_contracts.runs import open_run
from nearfeed_embedder.dataset import Dataset, Post, Readings
from nearfeed_embedder.encoder import Encoder, load_encoder
from nearfeed_embedder.graph.features import Vocabulary, features_of, vocabulary_of
from nearfeed_embedder.graph.pinsage import PinSage, Shape
from nearfeed_embedder.newcomers import MOST_LANDMARKS, Newcomers, Unread
from nearfeed_embedder.parts import Parts, blocks_of, unit_rows
from nearfeed_embedder.run import Outcome, write_run
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.text.encode import encode
from nearfeed_embedder.text.model import load_text_model
from nearfeed_standalone.demo.files import films_in

RESULTS = Path(__file__).parent / "results" / "text_speed.csv"
CPU = torch.device("cpu")
WARMING = 20
COMMUNITIES = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--texts", type=Path, help="lines of JSON with `text`")
    parser.add_argument("--posts", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=300)
    given = parser.parse_args()
    name = given.texts.stem if given.texts else "films"
    load = load_average()
    with tempfile.TemporaryDirectory(prefix="nearfeed-bench-") as folder:
        posts = posts_of(texts_of(given.texts, Path(folder)), given.posts)
        encoder = encoder_for(posts, Path(folder))
        rows = []
        for measure, value, unit in (*one_by_one(encoder, posts, given.calls), *all_at_once(encoder, posts)):
            sys.stdout.write(f"{measure:<40} {value:>12.2f} {unit}\n")
            sys.stdout.flush()
            rows.append({"texts": name, "measure": measure, "value": f"{value:.4g}", "unit": unit})
    machine = {"threads": str(torch.get_num_threads()), **load}
    put_rows(RESULTS, rows, of=lambda row: (row["texts"], row["measure"]), machine=machine)


def texts_of(file: Path | None, folder: Path) -> list[str]:
    """Distinct texts of the file, or titles of films."""
    if file is None:
        return (
            pl.read_parquet(films_in(folder / "films")["items"])["title"]
            .unique(maintain_order=True)
            .to_list()
        )
    return pl.read_ndjson(file)["text"].unique(maintain_order=True).to_list()


def posts_of(texts: list[str], most: int) -> list[Post]:
    """As many posts as are asked for, or as there are texts."""
    return [
        Post(f"p{number}", f"c{number % COMMUNITIES}", (f"t{number % 50}", f"t{number % 7}"), text)
        for number, text in enumerate(texts[:most])
    ]


def encoder_for(posts: list[Post], folder: Path) -> Encoder:
    """As it is opened from a run in which readers have added something to every post."""
    defaults = EmbedderSettings()
    torch.manual_seed(0)
    text = load_text_model(defaults.text_model, defaults.text_pooling, defaults.text_tokens, CPU)
    vocabulary = vocabulary_of(posts)
    shape = Shape(text.dim, len(vocabulary.communities), len(vocabulary.tags), defaults.dim)
    newcomers = random_newcomers(posts, vocabulary, text.dim, defaults)
    outcome = Outcome(
        random_parts(len(posts), defaults, seed=1),
        random_parts(len(posts), defaults, seed=2),
        blocks_of(defaults.dim, defaults.linear_dim, 0.5),
        Encoder(text, PinSage(shape), vocabulary, newcomers),
        metrics={},
        configuration={},
    )
    row = np.zeros(1, np.int64)
    dataset = Dataset(posts, np.ones(len(posts), np.int64), Readings(row, row, row, np.ones(1)), 90.0)
    manifest = write_run(f"file://{folder}/runs", dataset, outcome)
    encoder = load_encoder(open_run(f"file://{folder}/runs/{manifest.space}"), CPU)
    assert encoder is not None
    return encoder


def random_newcomers(
    posts: list[Post], vocabulary: Vocabulary, text_dim: int, defaults: EmbedderSettings
) -> Newcomers:
    """With as many landmarks as a run has at most."""
    landmarks = posts[:MOST_LANDMARKS]
    text, network, weights = (
        random((len(landmarks), dim), seed=0)
        for dim in (text_dim, defaults.dim, defaults.dim + 2 * defaults.linear_dim)
    )
    return Newcomers(Unread(features_of(landmarks, unit_rows(text), vocabulary), unit_rows(network)), weights)


def random_parts(n: int, defaults: EmbedderSettings, seed: int) -> Parts:
    graph, vectors, contexts = (
        random((n, dim), seed) for dim in (defaults.dim, defaults.linear_dim, defaults.linear_dim)
    )
    return Parts(graph, vectors, contexts)


def random(shape: tuple[int, int], seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def one_by_one(encoder: Encoder, posts: list[Post], calls: int) -> Iterator[Row]:
    """Each call gives one post that has changed its vector and its context."""
    rng = np.random.default_rng(1)
    changed = [replace(posts[row], text=f"{posts[row].text}!") for row in rng.permutation(len(posts))]
    seconds = []
    for post in changed[: WARMING + calls]:
        started = time.perf_counter()
        encoder.encode([post])
        seconds.append(time.perf_counter() - started)
    for percent in (50, 95, 99):
        yield f"re-embed one: p{percent}", float(np.percentile(seconds[WARMING:], percent)) * 1_000, "ms"


def all_at_once(encoder: Encoder, posts: list[Post]) -> Iterator[Row]:
    """Their texts to vectors, in batches of the default size."""
    batch = EmbedderSettings.model_fields["text_batch"].default
    started = time.perf_counter()
    encode(encoder.text, [post.text for post in posts], batch=batch)
    seconds = time.perf_counter() - started
    yield "posts", len(posts), ""
    yield "embed all", seconds, "s"
    yield "embed all: rate", len(posts) / seconds, "posts/s"


if __name__ == "__main__":
    main()
