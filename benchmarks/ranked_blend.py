"""Blends that are chosen on seven cuts of the past, with a ranker among the lists that are fused.

    python -m benchmarks.ranked_blend

The demo's films. At each cut of the past the sources learn from what lies before it, and readers are
described and scored as in the test. LambdaMART orders the first 200 posts of a blend by the ranks that all
sources gave them, by ages, readers and the reader's shares; it knows no clock and no categories, which on
readings before the test told what held for their time alone. Its order is one more list of the fusion.

Sources, weights and k of this blend were chosen by hand on four cuts, at each by a ranker of what had been
read before it, and on the first half of what readers of the test read after the cut. Beside it stand the same
without the ranker, the ranker alone, and a blend of weights that `benchmarks.blending` chooses on all seven
cuts and the same halves. Writes what they give on the test and at the four cuts to
benchmarks/results/blending.csv.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np

from benchmarks.blending import BLEND, RESULTS, Scorers, chosen, figures, halved, sources, told, trained_on
from benchmarks.rankers import films
from benchmarks.results_file import put_rows
from nearfeed_core.fusion import fused
from nearfeed_core.metrics import NOTHING
from nearfeed_core.ranking_features import FeatureSpec, Featuriser, fit_spec
from nearfeed_core.ranking_inputs import PostInputs, ReaderInputs, reader_of
from nearfeed_core.readings import DAY_MICROS
from nearfeed_core.splits import HeldOut, TimeSplit, split_by_time
from nearfeed_embedder.comparison.blends import by_fusion
from nearfeed_embedder.dataset import Readings, Rows, profile
from nearfeed_embedder.devices import device_of
from nearfeed_embedder.evaluation.by_time import split_dataset
from nearfeed_embedder.evaluation.ranking import Ranking, rank, ranked_of
from nearfeed_embedder.evaluation.split import Scorer, Scores, Split
from nearfeed_embedder.graph.features import vocabulary_of
from nearfeed_embedder.parts import Parts
from nearfeed_embedder.rankers.catalogue import Catalogue
from nearfeed_embedder.rankers.examples import Fitted, Group, Task, parts_by_time, table_of
from nearfeed_embedder.rankers.training import fit_of
from nearfeed_embedder.recipe import recipe_of
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import finish
from nearfeed_embedder.training import Choice, Inputs, choose_by_time, inputs_of, text_vectors

SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CHECKED = (0.6, 0.7, 0.8, 0.9)
LISTED = 200
RANKED = 200
RANKER = "ranker"
K = 10.0
LEAST = 0.01
WEIGHTS = {
    "pinsage-linear": 1.0,
    "ease": 0.2,
    "random-walk": 0.2,
    "als": LEAST,
    "item-knn": LEAST,
    "popularity": LEAST,
}
WITH_RANKER = {**WEIGHTS, RANKER: 1.0}
ALONE, WITHOUT, BAGGED = "ranker alone", "blend without the ranker", "blend of bagged weights"
TEST, BEFORE = "films by time, with a ranker", "films at four earlier cuts, with a ranker"
POPULAR_DAYS = 30
SEED = 0
WEEK_MICROS = 7 * DAY_MICROS
Ranker = tuple[FeatureSpec, Fitted]


@dataclass(frozen=True)
class Cut:
    """Readers around a cut in time; `by_time` has rows of the readings."""

    readings: Readings
    by_time: TimeSplit
    split: Split
    scorers: Scorers

    @property
    def case_of(self) -> dict[int, HeldOut]:
        return {case.reader: case for case in self.by_time.held_out}


def main() -> None:
    dataset, catalogue = films()
    settings = EmbedderSettings()
    _, vectors = finish(text_vectors(settings, dataset, device_of(settings.device)))
    inputs = inputs_of(recipe_of(settings), dataset, vectors, vocabulary_of(dataset.posts))
    by_time = inputs.split(dataset.readings)
    past = dataset.readings.take(by_time.train)
    earlier = {share: cut_at(inputs, past, share) for share in SHARES}
    parts, choice = trained_before(inputs, past)
    after = cut_of(inputs, parts, choice, dataset.readings, halved(by_time))
    test = cut_of(inputs, parts, choice, dataset.readings, by_time)
    rows = []
    for row in scored(catalogue, inputs.dataset.half_life_days, earlier, after, test):
        sys.stdout.write(f"{row}\n")
        rows.append(row)
    put_rows(RESULTS, rows, of=itemgetter("data", "model"))


def cut_at(inputs: Inputs, past: Readings, share: float) -> Cut:
    """At a share of the readings of the past, with models that were chosen on what lies before the cut."""
    by_time = split_by_time(past.reader, past.item, past.time, len(inputs.features), share=share)
    parts, choice = trained_before(inputs, past.take(by_time.train))
    return cut_of(inputs, parts, choice, past, by_time)


def trained_before(inputs: Inputs, readings: Readings) -> tuple[Parts, Choice]:
    choice = finish(choose_by_time(inputs, readings))
    return trained_on(inputs, readings, choice.epochs, choice.ridge), choice


def cut_of(inputs: Inputs, parts: Parts, choice: Choice, readings: Readings, by_time: TimeSplit) -> Cut:
    split = split_dataset(replace(inputs.dataset, readings=readings), by_time)
    return Cut(readings, by_time, split, sources(inputs, parts, choice.scale, split))


def scored(
    catalogue: Catalogue, half_life_days: float, earlier: Mapping[float, Cut], after: Cut, test: Cut
) -> Iterator[dict[str, str | int]]:
    """The blends and each source, at the earlier cuts taken together and on the test."""
    groups = {share: groups_of(cut, catalogue, half_life_days) for share, cut in earlier.items()}
    weights, k = chosen([(cut.split, cut.scorers) for cut in (*earlier.values(), after)])
    kinds = {BLEND: (WITH_RANKER, K), WITHOUT: (WEIGHTS, K), BAGGED: (weights, k)}

    def ranker_before(time: int | None) -> Ranker:
        return learned(
            [group for share in SHARES for group in read_before(earlier[share], groups[share], time)]
        )

    def rankings(cut: Cut, own: Mapping[int, Group]) -> dict[str, Ranking]:
        ranker = by_ranker(own, cut.split, ranker_before(cut.split.cut))
        scorers = {**cut.scorers, RANKER: ranker}
        blends = {
            name: by_fusion({member: scorers[member] for member in of}, of, cut.split, at)
            for name, (of, at) in kinds.items()
        }
        made = {**blends, ALONE: ranker, **cut.scorers}
        return {name: rank(scorer, cut.split) for name, scorer in made.items()}

    at_cuts = [rankings(earlier[share], groups[share]) for share in CHECKED]
    together = {name: joined([of_cut[name] for of_cut in at_cuts]) for name in at_cuts[0]}
    for data, found in (
        (TEST, rankings(test, groups_of(test, catalogue, half_life_days))),
        (BEFORE, together),
    ):
        for name, ranking in found.items():
            blend = told(*kinds.get(name, kinds[BLEND]))
            yield {"data": data, "model": name, **figures(ranking, found[BLEND]), "blend": blend}


def read_before(cut: Cut, groups: Mapping[int, Group], time: int | None) -> list[Group]:
    """Those of readers whose last reading to find lies before a time."""
    assert time is not None
    cases = cut.case_of
    return [group for reader, group in groups.items() if cut.readings.time[cases[reader].targets[-1]] < time]


def joined(rankings: Sequence[Ranking]) -> Ranking:
    """Readers of several cuts one after the other; of a reader who is scored at two, both are there."""
    return Ranking(
        np.concatenate([ranking.readers for ranking in rankings]),
        np.concatenate([ranking.ranked for ranking in rankings]),
        np.concatenate([ranking.hits for ranking in rankings]),
        {
            metric: np.concatenate([ranking.values[metric] for ranking in rankings])
            for metric in rankings[0].values
        },
        {},
    )


def groups_of(cut: Cut, catalogue: Catalogue, half_life_days: float) -> dict[int, Group]:
    """By reader the first 200 posts of the blend, with the ranks that sources gave them and what was read."""
    split, readers, cases = cut.split, cut.split.readers, cut.case_of
    tops = {
        name: ranked_of(scorer, split, readers, split.candidates, LISTED)
        for name, scorer in cut.scorers.items()
        if name in WEIGHTS
    }
    counts = readers_lately(split)

    def group(row: int, case: HeldOut) -> Group:
        rankings = {
            name: [split.item_ids[item] for item in top[row] if item != NOTHING] for name, top in tops.items()
        }
        best = list(fused(rankings, WEIGHTS, K))[:RANKED]
        read = {split.item_ids[item] for item in cut.readings.item[case.targets]}
        ranks = ranks_by_post(rankings)
        items, weights = profile(cut.readings, case.past, half_life_days)
        served_at = int(cut.readings.time[case.targets[0]])
        reader = without_clock(reader_of(served_at, catalogue.weighed(items, weights)))
        posts = tuple(post_of(catalogue, column[item_id], counts, ranks[item_id]) for item_id in best)
        grades = np.array([item_id in read for item_id in best], np.float32)
        return Group(reader, posts, (0,) * len(best), grades)

    column = {item_id: number for number, item_id in enumerate(split.item_ids)}
    return {int(reader): group(row, cases[int(reader)]) for row, reader in enumerate(readers)}


def readers_lately(split: Split) -> Rows:
    """How many readers each post (items) had in the 30 days before the cut."""
    assert split.times is not None
    assert split.cut is not None
    lately = split.times >= split.cut - POPULAR_DAYS * DAY_MICROS
    return np.bincount(split.train.indices[lately], minlength=split.n_items).astype(np.intp)


def without_clock(reader: ReaderInputs) -> ReaderInputs:
    """As if all came at one hour of one day of their week."""
    return replace(reader, served_at=reader.served_at // WEEK_MICROS * WEEK_MICROS)


def ranks_by_post(rankings: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    ranks: dict[str, dict[str, int]] = {}
    for name, ranking in rankings.items():
        for place, item_id in enumerate(ranking, start=1):
            ranks.setdefault(item_id, {})[name] = place
    return ranks


def post_of(catalogue: Catalogue, item: int, counts: Rows, ranks: Mapping[str, int]) -> PostInputs:
    post, author, published = catalogue.posts[item], catalogue.authors[item], int(catalogue.published[item])
    return PostInputs(post.item_id, post.community_id, author, published, post.tags, int(counts[item]), ranks)


def learned(groups: Sequence[Group]) -> Ranker:
    """LambdaMART of all groups, for as many trees as are best on the last 30 % of them in time."""
    parts = parts_by_time(groups)
    _, tried = fit(parts.train, valid=[*parts.valid, *parts.test])
    return fit(parts.all, rounds=tried.rounds)


def fit(groups: Sequence[Group], valid: Sequence[Group] = (), rounds: int | None = None) -> Ranker:
    served = [(group.reader, group.posts) for group in groups]
    spec = fit_spec(served, communities=0, authors=0, tags=0)
    maker = Featuriser(spec)
    held_out = table_of(valid, maker, positions=False) if valid else None
    task = Task(spec, table_of(groups, maker, positions=False), SEED, held_out, rounds)
    return spec, finish(fit_of("lambdamart")(task))


def by_ranker(groups: Mapping[int, Group], split: Split, ranker: Ranker) -> Scorer:
    """What the ranker gives to each reader's group; all other posts score -inf."""
    column = {item_id: number for number, item_id in enumerate(split.item_ids)}
    spec, fitted = ranker
    maker = Featuriser(spec)

    def score(readers: Rows) -> Scores:
        scores = np.full((len(readers), split.n_items), -np.inf, np.float32)
        for place, reader in enumerate(readers):
            group = groups[int(reader)]
            columns = [column[post.item_id] for post in group.posts]
            scores[place, columns] = fitted.score(maker.features(group.reader, group.posts))
        return scores

    return score


if __name__ == "__main__":
    main()
