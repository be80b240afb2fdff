"""Every source alone, and a provider that blends them, on lists and by time.

    python -m benchmarks.blending lists --train FILE --valid FILE --test FILE
    python -m benchmarks.blending time --items FILE --interactions FILE

The first takes given lists, as `benchmarks.lists`, the second films in the import format, as
`benchmarks.by_time`. Sources are scored as they are served: vectors of `pinsage-linear` and `als`, lists of
`item-knn`, `ease` and `popularity` as `nearfeed train` makes them, walks as a request takes them. Of each
the first 500 are blended by weighted reciprocal-rank fusion. Writes benchmarks/results/blending.csv.

Weights and k are chosen on what is not in the test: on the valid list; by time on readings around an
earlier cut, and on the first half of what readers read after the cut, which describes them in the test.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby, pairwise
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.lists import add_files
from benchmarks.lists import inputs_of as inputs_of_lists
from benchmarks.results_file import put_rows
from nearfeed_core import metrics
from nearfeed_core.splits import HeldOut, TimeSplit
from nearfeed_embedder.baselines.als import fit_als
from nearfeed_embedder.baselines.popularity import popularity, recent_popularity
from nearfeed_embedder.baselines.random_walk import random_walk
from nearfeed_embedder.comparison.blends import DEPTH, by_fusion
from nearfeed_embedder.comparison.compare import gains, intervals
from nearfeed_embedder.comparison.files import read_files
from nearfeed_embedder.comparison.lists import read_lists
from nearfeed_embedder.dataset import Readings
from nearfeed_embedder.devices import device_of
from nearfeed_embedder.evaluation.by_time import split_dataset
from nearfeed_embedder.evaluation.ranked import by_neighbours
from nearfeed_embedder.evaluation.ranking import NDCG, RECALL, K, Ranking, rank, ranked_of
from nearfeed_embedder.evaluation.split import Scorer, Split
from nearfeed_embedder.evaluation.vectors import by_vectors_of_some
from nearfeed_embedder.graph.features import vocabulary_of
from nearfeed_embedder.linear.autoencoder import whitened
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
SHARES = 6
KS = (10.0, 30.0, 60.0, 120.0)
BAGS = 200
MOST_READERS = 1_500
LEAST_WEIGHT = 0.05
Weights = dict[str, float]
Scorers = Mapping[str, Scorer]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """What weights are chosen on, and what the blend is scored on, each with the sources' scorers."""

    name: str
    valid: Sequence[tuple[Split, Scorers]]
    test: tuple[Split, Scorers]


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
    weights, k = chosen(data.valid)
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

    def with_sources(split: Split) -> tuple[Split, Scorers]:
        return split, sources(inputs, parts, choice.scale, split, ease_ridge=700.0)

    return Data("ML-1M m1", [with_sources(valid)], with_sources(test))


def of_films(given: argparse.Namespace) -> Data:
    """Models for the test and its valid part have learned from what was read before the cut."""
    settings = EmbedderSettings()
    dataset = read_files(given.interactions, given.items, settings.weight_rule)
    _, vectors = finish(text_vectors(settings, dataset, device_of(settings.device)))
    inputs = inputs_of_dataset(recipe_of(settings), dataset, vectors, vocabulary_of(dataset.posts))
    cut = inputs.split(dataset.readings)
    past = dataset.readings.take(cut.train)
    earlier = inputs.split(past)
    before_cut = split_dataset(replace(dataset, readings=past), earlier)
    choice, before = finish(choose(inputs, past.take(earlier.train), before_cut))
    parts = trained_on(inputs, past, choice.epochs, choice.ridge)
    after_cut, test = split_dataset(dataset, halved(cut)), split_dataset(dataset, cut)
    return Data(
        "films by time",
        [
            (before_cut, sources(inputs, before, choice.scale, before_cut)),
            (after_cut, sources(inputs, parts, choice.scale, after_cut)),
        ],
        (test, sources(inputs, parts, choice.scale, test)),
    )


def halved(by_time: TimeSplit) -> TimeSplit:
    """Of what describes readers, the second half of what they read after the cut is to be found."""

    def case_of(case: HeldOut) -> HeldOut:
        later = int((~by_time.train[case.past]).sum())
        held = (later + 1) // 2
        return HeldOut(case.reader, case.past[:-held], case.past[-held:])

    return replace(by_time, held_out=[case_of(case) for case in by_time.held_out])


def trained_on(inputs: Inputs, readings: Readings, epochs: int, ridge: float) -> Parts:
    return inputs.join(finish(inputs.train(readings, "Training", stop_after=epochs)), readings, ridge).parts


def sources(
    inputs: Inputs, parts: Parts, scale: float, split: Split, *, ease_ridge: float = 500.0
) -> dict[str, Scorer]:
    """As runs of their trainers are served."""
    model = finish(fit_als(split.train, factors=128, alpha=10.0, ridge=100.0, iterations=15, seed=0))
    space = whitened(model.item_factors, ridge=100.0, alpha=10.0)
    there = split.readers_of > 0
    return {
        MODEL: scorers_of(parts, inputs.blocks(scale), split)[MODEL],
        "als": by_vectors_of_some(space.vectors, space.vectors, space.blocks, split.history, there),
        "item-knn": by_neighbours(knn_lists(split.train), split.history),
        "ease": by_neighbours(ease_lists(split.train, ridge=ease_ridge), split.history),
        "popularity": popular(split),
        "random-walk": random_walk(split.train, split.history),
    }


def popular(split: Split) -> Scorer:
    """Of the last 30 days, or of all time where no times are known."""
    if split.times is None or split.cut is None:
        return popularity(split.train)
    return recent_popularity(split.train, split.times, split.cut)


def chosen(valid: Sequence[tuple[Split, Scorers]]) -> tuple[Weights, float]:
    """Weights and k by the mean of recall@20 and NDCG@20, of all that give each source sixths of the whole.

    The mean of those that are best for 200 bootstrap samples of readers (bagging; Breiman, 1996), for
    the best of few readers is the best by chance.
    """
    names = list(valid[0][1])
    tried = [(dict(zip(names, shares, strict=True)), k) for k in KS for shares in shares_of(len(names))]
    values = np.concatenate([values_of(split, scorers, tried) for split, scorers in valid])
    rng = np.random.default_rng(0)
    bags = (values[rng.integers(0, len(values), len(values))] for _ in range(BAGS))
    best = [tried[int(bag.mean(axis=0).argmax())] for bag in bags]
    means = {name: float(np.mean([weights[name] for weights, _ in best])) for name in names}
    k = round(float(np.exp(np.mean([np.log(k) for _, k in best]))))
    weights = {name: round(weight, 2) for name, weight in means.items() if weight >= LEAST_WEIGHT}
    sys.stdout.write(f"chosen on {len(values)} readers: {told(weights, k)}\n")
    return weights, k


def shares_of(sources: int) -> Iterator[tuple[float, ...]]:
    """All ways to share the whole among sources in sixths."""
    for cuts in combinations(range(SHARES + sources - 1), sources - 1):
        ends = (-1, *cuts, SHARES + sources - 1)
        yield tuple((end - start - 1) / SHARES for start, end in pairwise(ends))


def values_of(split: Split, scorers: Scorers, tried: Sequence[tuple[Weights, float]]) -> Values:
    """(readers, tried) of up to 1,500 readers."""
    readers = np.random.default_rng(0).permutation(split.readers)[:MOST_READERS]
    ranks = {name: ranks_of(scorer, split, readers) for name, scorer in scorers.items()}
    targets = split.targets[readers].toarray() > 0
    found = np.any([np.isfinite(own) for own in ranks.values()], axis=0)
    there = np.argsort(~found, axis=1, kind="stable")[:, : found.sum(axis=1).max()]
    own_ranks = {name: np.take_along_axis(own, there, axis=1) for name, own in ranks.items()}
    wanted, relevant = np.take_along_axis(targets, there, axis=1), targets.sum(axis=1)
    columns = []
    for k, group in groupby(tried, key=itemgetter(1)):
        parts = {name: 1 / (np.float32(k) + own) for name, own in own_ranks.items()}
        columns += [quality(parts, weights, wanted, relevant) for weights, _ in group]
    return np.stack(columns, axis=1)


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
    parts: Mapping[str, NDArray[np.float32]],
    weights: Weights,
    targets: NDArray[np.bool_],
    relevant: NDArray[np.intp],
) -> Values:
    """Of each reader, by the same sums as `nearfeed_core.fusion`, over all readers at once."""
    scores = sum(np.float32(weights[name]) * own for name, own in parts.items() if weights[name])
    ranked = metrics.top_k(np.asarray(scores, np.float32), K)
    hits = metrics.hits_of(ranked, targets)
    return np.asarray((metrics.recall(hits, relevant, K) + metrics.ndcg(hits, relevant, K)) / 2)


def scored(data: Data, weights: Weights, k: float) -> Iterator[dict[str, str | int]]:
    """Means on test with intervals, and paired gains of the blend over each source."""
    split, scorers = data.test
    blend = rank(by_fusion({name: scorers[name] for name in weights}, weights, split, k), split)
    rankings = {BLEND: blend, **{name: rank(scorer, split) for name, scorer in scorers.items()}}
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
