"""Trains the default model on given lists, chosen on the valid list, and scores it once on the test list.

    python -m benchmarks.lists --train FILE --valid FILE --test FILE [--dim 128] [--linear-dim 128]

A line of a list is a reader, then items, by numbers. Lists have no texts, communities, tags or times, so
PinSage has the graph alone. Writes benchmarks/results/lists.csv: the whole vector, each part of it alone and
the baselines, all by one search over all items with those of the training list masked.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch

from benchmarks.results_file import put_rows
from nearfeed_embedder.baselines.als import als
from nearfeed_embedder.baselines.ease import ease
from nearfeed_embedder.baselines.item_knn import item_knn
from nearfeed_embedder.baselines.popularity import popularity
from nearfeed_embedder.comparison.compare import gains, intervals
from nearfeed_embedder.comparison.lists import PARTS, read_lists
from nearfeed_embedder.dataset import Dataset, Post, Readings
from nearfeed_embedder.devices import device_of
from nearfeed_embedder.evaluation.ranking import NDCG, RECALL, Ranking, rank
from nearfeed_embedder.evaluation.split import Scorer, Split
from nearfeed_embedder.graph.features import Features
from nearfeed_embedder.graph.pinsage import Shape
from nearfeed_embedder.graph.train import TrainRule, fitted
from nearfeed_embedder.linear.autoencoder import LinearRule
from nearfeed_embedder.run import MODEL
from nearfeed_embedder.stages import Stage, finish
from nearfeed_embedder.training import Choice, Inputs, choose, scorers_of

RESULTS = Path(__file__).parent / "results" / "lists.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_files(parser)
    parser.add_argument("--valid-only", action="store_true", help="leave the test list alone, to tune")
    given = parser.parse_args()
    lists = read_lists(given.train, given.valid, given.test)
    split = lists.split("valid" if given.valid_only else "test")
    inputs = inputs_of(lists.split("valid"), given)
    started = time.perf_counter()
    choice, scorers = finish(trained(inputs, lists.split("valid"), split))
    seconds = time.perf_counter() - started
    told = f"{choice.epochs} epochs, ridge {choice.ridge}, scale {choice.scale}, {seconds:.0f} s"
    sys.stdout.write(f"{told}\n")
    rows = []
    for row in scored({**scorers, **baselines(split)}, split):
        sys.stdout.write(f"{row}\n")
        rows.append({**row, "dim": inputs.shape.dim, "linear_dim": inputs.linear.dim, "trained": told})
    if not given.valid_only:
        put_rows(RESULTS, rows, of=itemgetter("model"))


def add_files(parser: argparse.ArgumentParser) -> None:
    """The lists, and what may be changed of the default."""
    for part in PARTS:
        parser.add_argument(f"--{part}", type=Path, required=True)
    parser.add_argument("--dim", type=int, default=Shape.dim)
    parser.add_argument("--linear-dim", type=int, default=LinearRule.dim)
    parser.add_argument("--epochs", type=int, default=TrainRule.epochs)
    parser.add_argument("--seed", type=int, default=0)


def inputs_of(split: Split, given: argparse.Namespace) -> Inputs:
    """The training list as a dataset: posts that nothing is known of, and readings without times."""
    n = split.n_items
    reader, item = (index.astype(np.intp) for index in split.train.nonzero())
    readings = Readings(reader, item, np.zeros(len(item), np.int64), np.ones(len(item))).sorted()
    posts = [Post(item_id, "", (), "") for item_id in split.item_ids]
    nothing = Features(
        torch.zeros(n, 1), torch.zeros(n, dtype=torch.long), torch.zeros(n, 1, dtype=torch.long)
    )
    shape, rule = fitted(Shape(1, 0, 0, given.dim), TrainRule(epochs=given.epochs), nothing)
    return Inputs(
        Dataset(posts, np.ones(n, np.int64), readings, 180.0),
        nothing,
        shape,
        rule,
        LinearRule(dim=given.linear_dim),
        given.seed,
        device_of("auto"),
    )


def trained(inputs: Inputs, valid: Split, split: Split) -> Stage[tuple[Choice, dict[str, Scorer]]]:
    """What was chosen on `valid`, and the scorers of the model for `split`."""
    choice, parts = yield from choose(inputs, inputs.dataset.readings, valid)
    return choice, scorers_of(parts, inputs.blocks(choice.scale), split)


def baselines(split: Split) -> dict[str, Scorer]:
    """Tuned for ML-1M's lists on its valid list."""
    return {
        "ease (ridge 700)": ease(split.train, split.history, ridge=700.0),
        "als (128 factors)": als(split.train, split.history),
        "item-knn": item_knn(split.train, split.history),
        "popularity": popularity(split.train),
    }


def scored(scorers: dict[str, Scorer], split: Split) -> Iterator[dict[str, str | int]]:
    """Means with intervals, and paired gains of the whole model over each other one."""
    rankings: dict[str, Ranking] = {}
    for name, scorer in scorers.items():
        rankings[name] = rank(scorer, split)
        row: dict[str, str | int] = {"model": name, "readers": len(rankings[name].readers)}
        means, over = intervals(rankings[name].values), gains(rankings[MODEL], rankings[name])
        for metric in (RECALL, NDCG):
            mean, gain = means[metric], over[metric]
            row[metric] = f"{mean.mean:.4f}"
            row[f"{metric}_interval"] = f"[{mean.low:.4f}, {mean.high:.4f}]"
            row[f"{metric}_gain_of_whole"] = f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
        yield row


if __name__ == "__main__":
    main()
