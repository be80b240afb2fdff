"""Every source alone, and a provider that blends them, on lists and by time.

    python -m benchmarks.blending lists --train FILE --valid FILE --test FILE
    python -m benchmarks.blending time --items FILE --interactions FILE

The first takes given lists, as `benchmarks.lists`, the second films in the import format, as
`benchmarks.by_time`. Sources are scored as they are served: vectors of `pinsage-linear` and `als`, lists of
`item-knn`, `ease` and `popularity` as `nearfeed train` makes them. Of each the first 500 are blended by
weighted reciprocal-rank fusion; weights and k are chosen on the valid list, or on readings between an
earlier cut and the one of the test. Writes benchmarks/results/blending.csv.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.lists import add_files
from benchmarks.lists import inputs_of as inputs_of_lists
from benchmarks.results_file import put_rows
from nearfeed_core import metrics
from nearfeed_embedder.baselines.als import fit_als
from nearfeed_embedder.baselines.popularity import popularity
from nearfeed_embedder.dataset import Readings
from nearfeed_embedder.devices import device_of
from nearfeed_embedder.evaluation.blends import DEPTH, by_fusion
from nearfeed_embedder.evaluation.by_time import split_dataset
from nearfeed_embedder.evaluation.compare import gains, intervals
from nearfeed_embedder.evaluation.files import read_files
from nearfeed_embedder.evaluation.lists import read_lists
from nearfeed_embedder.evaluation.models import BASELINES, Baseline, inputs_of
from nearfeed_embedder.evaluation.ranked import by_neighbours
from nearfeed_embedder.evaluation.ranking import NDCG, RECALL, Ranking, rank, ranked_of
from nearfeed_embedder.evaluation.split import Scorer, Split
from nearfeed_embedder.evaluation.vectors import by_vectors_of_some
from nearfeed_embedder.graph.features import vocabulary_of
from nearfeed_embedder.linear.fold_in import whitened
from nearfeed_embedder.parts import Parts
from nearfeed_embedder.recipe import recipe_of
from nearfeed_embedder.run import MODEL
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import finish
from nearfeed_embedder.trainers.item_to_item import ease_lists, knn_lists
from nearfeed_embedder.training import Inputs, choose, scorers_of, text_vectors
from nearfeed_embedder.training import inputs_of as inputs_of_dataset

RESULTS = Path(__file__).parent / "results" / "blending.csv"
BLEND = "blend"
WEIGHTS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
KS = (5.0, 10.0, 20.0, 40.0, 60.0, 100.0)
ROUNDS = 3
# Where it is a baseline of this version: how it does beside the others.
OPTIONAL = ("random-walk",)
Weights = dict[str, float]


@dataclass(frozen=True)
class Data:
    """What weights are chosen on, and what the blend is scored on, with the sources' scorers for each."""

    name: str
    valid: Split
    test: Split
    on_valid: Mapping[str, Scorer]
    on_test: Mapping[str, Scorer]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    lists = kinds.add_parser("lists")
    add_files(lists)
    lists.set_defaults(data=of_lists)
    by_time = kinds.add_parser("time")
    by_time.add_argument("--items", type=Path, required=True)
    by_time.add_argument("--interactions", type=Path, required=True)
    by_time.set_defaults(data=of_films)
    given = parser.parse_args()
    data: Data = given.data(given)
    weights, k = chosen(data)
    rows = []
    for row in scored(data, weights, k):
        sys.stdout.write(f"{row}\n")
        rows.append(row)
    put_rows(RESULTS, rows, of=itemgetter("data", "model"))


def of_lists(given: argparse.Namespace) -> Data:
    """The model of the training list, chosen on valid, describes readers of valid and test alike."""
    lists = read_lists(given.train, given.valid, given.test)
    valid, test = lists.split("valid"), lists.split("test")
    inputs = inputs_of_lists(valid, given)
    choice, parts = finish(choose(inputs, inputs.dataset.readings, valid))
    return Data(
        "ML-1M m1",
        valid,
        test,
        sources(inputs, parts, choice.scale, valid, als_ridge=100.0, ease_ridge=700.0),
        sources(inputs, parts, choice.scale, test, als_ridge=100.0, ease_ridge=700.0),
    )


def of_films(given: argparse.Namespace) -> Data:
    """Two cuts: what was read before the first one learns for valid, before the second one for test."""
    settings = EmbedderSettings()
    dataset = read_files(given.interactions, given.items, settings.weight_rule)
    _, vectors = finish(text_vectors(settings, dataset, device_of(settings.device)))
    inputs = inputs_of_dataset(recipe_of(settings), dataset, vectors, vocabulary_of(dataset.posts))
    cut = inputs.split(dataset.readings)
    past = dataset.readings.take(cut.train)
    earlier = inputs.split(past)
    valid = split_dataset(replace(dataset, readings=past), earlier)
    choice, before = finish(choose(inputs, past.take(earlier.train), valid))
    parts = trained_on(inputs, past, choice.epochs, choice.ridge)
    test = split_dataset(dataset, cut)
    return Data(
        "films by time",
        valid,
        test,
        sources(inputs, before, choice.scale, valid),
        sources(inputs, parts, choice.scale, test),
    )


def trained_on(inputs: Inputs, readings: Readings, epochs: int, ridge: float) -> Parts:
    return inputs.join(finish(inputs.train(readings, "Training", stop_after=epochs)), readings, ridge).parts


def sources(
    inputs: Inputs,
    parts: Parts,
    scale: float,
    split: Split,
    *,
    als_ridge: float = 100.0,
    ease_ridge: float = 500.0,
) -> dict[str, Scorer]:
    """As runs of their trainers are served."""
    model = finish(fit_als(split.train, factors=128, alpha=10.0, ridge=als_ridge, iterations=15, seed=0))
    space = whitened(model.item_factors, ridge=als_ridge, alpha=10.0)
    there = split.readers_of > 0
    own = {
        MODEL: scorers_of(parts, inputs.blocks(scale), split)[MODEL],
        "als": by_vectors_of_some(space.vectors, space.vectors, space.blocks, split.history, there),
        "item-knn": by_neighbours(knn_lists(split.train), split.history),
        "ease": by_neighbours(ease_lists(split.train, ridge=ease_ridge), split.history),
        "popularity": popularity(split.train),
    }
    more = {name: Baseline(name, BASELINES[name], {}) for name in OPTIONAL if name in BASELINES}
    return own | {name: baseline.scorer(inputs_of(split, None)) for name, baseline in more.items()}


def chosen(data: Data) -> tuple[Weights, float]:
    """Weights and k by coordinate ascent in the mean of recall@20 and NDCG@20 on valid.

    From equal weights, source by source, until nothing is gained or three rounds are over. The best k is
    found anew in each round.
    """
    readers = data.valid.readers
    ranks = {name: ranks_of(scorer, data.valid, readers) for name, scorer in data.on_valid.items()}
    targets = data.valid.targets[readers].toarray() > 0
    weights, k = dict.fromkeys(ranks, 1.0), 60.0
    best = quality(ranks, weights, k, targets)
    for _ in range(ROUNDS):
        before = best
        for name in ranks:
            for weight in WEIGHTS:
                tried = {**weights, name: weight}
                if any(tried.values()) and (found := quality(ranks, tried, k, targets)) > best:
                    best, weights = found, tried
        for tried_k in KS:
            if (found := quality(ranks, weights, tried_k, targets)) > best:
                best, k = found, tried_k
        sys.stdout.write(f"valid: {best:.5f} with {told(weights, k)}\n")
        if best == before:
            break
    return {name: weight for name, weight in weights.items() if weight}, k


def ranks_of(scorer: Scorer, split: Split, readers: NDArray[np.intp]) -> NDArray[np.float32]:
    """(readers, items): ranks from 1 of the first 500, infinity below."""
    ranks = np.full((len(readers), split.n_items), np.inf, np.float32)
    for start in range(0, len(readers), 256):
        part = readers[start : start + 256]
        found = ranked_of(scorer, split, part, split.candidates, min(DEPTH, split.n_items))
        row, place = np.nonzero(found != metrics.NOTHING)
        ranks[start + row, found[row, place]] = place + 1
    return ranks


def quality(
    ranks: Mapping[str, NDArray[np.float32]], weights: Weights, k: float, targets: NDArray[np.bool_]
) -> float:
    """The same sums as `nearfeed_core.fusion`, over all readers at once."""
    scores = sum(
        np.float32(weights[name]) / (np.float32(k) + own) for name, own in ranks.items() if weights[name]
    )
    ranked = metrics.top_k(np.asarray(scores, np.float32), 20)
    hits, relevant = metrics.hits_of(ranked, targets), targets.sum(axis=1)
    return float((metrics.recall(hits, relevant, 20).mean() + metrics.ndcg(hits, relevant, 20).mean()) / 2)


def scored(data: Data, weights: Weights, k: float) -> Iterator[dict[str, str | int]]:
    """Means on test with intervals, and paired gains of the blend over each source."""
    members = {name: data.on_test[name] for name in weights}
    blend = rank(by_fusion(members, weights, data.test, k), data.test)
    rankings = {BLEND: blend, **{name: rank(scorer, data.test) for name, scorer in data.on_test.items()}}
    for name, ranking in rankings.items():
        yield {"data": data.name, "model": name, **figures(ranking, blend), "blend": told(weights, k)}


def figures(ranking: Ranking, blend: Ranking) -> dict[str, str | int]:
    row: dict[str, str | int] = {"readers": len(ranking.readers)}
    means, over = intervals(ranking.values), gains(blend, ranking)
    for metric in (RECALL, NDCG):
        mean, gain = means[metric], over[metric]
        row[metric] = f"{mean.mean:.4f}"
        row[f"{metric}_interval"] = f"[{mean.low:.4f}, {mean.high:.4f}]"
        row[f"{metric}_gain_of_blend"] = f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
    return row


def told(weights: Weights, k: float) -> str:
    """As `nearfeed evaluate` takes it."""
    members = "+".join(f"{name}*{weight:g}" for name, weight in weights.items() if weight)
    return f"blend:{members}@k={k:g}"


if __name__ == "__main__":
    main()
