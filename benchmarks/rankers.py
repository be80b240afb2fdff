"""Rankers on the candidates of a blend, and YouTube's candidate generation, by what readers read later.

    python -m benchmarks.rankers

The demo's films, cut at 70 % of all readings in time. Sources, rankers and the tower have learned from what
lies before the cut alone: rankers from a replay of windows of it, in each of which the sources had learned
from what lies before the window. Of each reader of the test the first 200 posts of the blend are ranked, and
the first 200 of the tower alone.
Writes benchmarks/results/rankers.csv.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np

from benchmarks.results_file import put_rows
from nearfeed_contracts.fields import to_micros
from nearfeed_core.ranking_features import FeatureSpec, Featuriser
from nearfeed_core.splits import TimeSplit, split_by_time
from nearfeed_embedder.baselines.als import als
from nearfeed_embedder.baselines.item_knn import item_knn
from nearfeed_embedder.baselines.popularity import recent_popularity
from nearfeed_embedder.comparison.compare import gains, intervals
from nearfeed_embedder.comparison.files import read_files
from nearfeed_embedder.dataset import Dataset, Rows
from nearfeed_embedder.evaluation.by_time import split_dataset
from nearfeed_embedder.evaluation.ranking import NDCG, RECALL, Ranking, rank
from nearfeed_embedder.evaluation.split import Scorer, Scores, Split
from nearfeed_embedder.rankers.catalogue import Catalogue
from nearfeed_embedder.rankers.examples import Fitted, Group, parts_by_time
from nearfeed_embedder.rankers.replay import History, ReplayRule, Request, replay, replayed
from nearfeed_embedder.rankers.training import RANKERS, fit_of, fit_stopped, fit_whole
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import finish
from nearfeed_embedder.towers.scoring import fit_past, scorer_of
from nearfeed_embedder.towers.youtube import TowerRule
from nearfeed_standalone.demo.films import films_of, load_ratings

RESULTS = Path(__file__).parent / "results" / "rankers.csv"
BLEND = "blend"
RULE = ReplayRule(sources=("popular", "item-knn", "als"), live=False)
TOWER_RULE = ReplayRule(sources=("youtube-dnn",), live=False)
SEED = 0


def main() -> None:
    dataset, catalogue = films()
    readings = dataset.readings
    by_time = split_by_time(readings.reader, readings.item, readings.time, len(dataset.posts))
    split = split_dataset(dataset, by_time)
    rows = []
    for row in scored(dataset, catalogue, by_time, split):
        sys.stdout.write(f"{row}\n")
        sys.stdout.flush()
        rows.append(row)
    put_rows(RESULTS, rows, of=itemgetter("model"))


def films() -> tuple[Dataset, Catalogue]:
    """The demo's data, with the years of films as their authors and their first ratings as their dates."""
    made = films_of(load_ratings(), shift=0)
    with tempfile.TemporaryDirectory() as folder:
        items, interactions = Path(folder) / "items.parquet", Path(folder) / "interactions.parquet"
        made.items.write_parquet(items)
        made.interactions.write_parquet(interactions)
        dataset = read_files(interactions, items, EmbedderSettings().weight_rule)
    known = {row["item_id"]: row for row in made.items.iter_rows(named=True)}
    rows = [known[post.item_id] for post in dataset.posts]
    published = np.array([to_micros(row["published_at"]) for row in rows], np.int64)
    return dataset, Catalogue(dataset.posts, [row["author_id"] for row in rows], published)


def scored(
    dataset: Dataset, catalogue: Catalogue, by_time: TimeSplit, split: Split
) -> Iterator[dict[str, str | int]]:
    """Means on test with intervals, and paired gains over the blend."""
    blend = rank(by_groups(groups_of_test(dataset, catalogue, by_time, RULE), by_time, split), split)
    yield row_of(BLEND, blend, blend)
    for name, scorer in alone(split).items():
        yield row_of(f"{name} alone", rank(scorer, split), blend)
    past = dataset.before(by_time.cut)
    started = time.perf_counter()
    model, _ = finish(fit_past(past, TowerRule(), SEED))
    seconds = time.perf_counter() - started
    yield row_of("youtube-dnn alone", rank(scorer_of(model, split.history), split), blend, seconds)
    for prefix, rule, names in (("", RULE, RANKERS), ("youtube-dnn, ", TOWER_RULE, ("lambdamart", "deepfm"))):
        groups = groups_of_test(dataset, catalogue, by_time, rule)
        learned = finish(replay(History(past, catalogue), rule))
        for name in names:
            started = time.perf_counter()
            spec, fitted = trained(name, learned)
            seconds = time.perf_counter() - started
            ranking = rank(by_groups(groups, by_time, split, spec, fitted), split)
            yield row_of(f"{prefix}{name}", ranking, blend, seconds)


def groups_of_test(
    dataset: Dataset, catalogue: Catalogue, by_time: TimeSplit, rule: ReplayRule
) -> list[Group]:
    """What each reader of the test is shown, by what lies before the cut."""
    requests = requests_of(dataset, by_time)
    return list(replayed(History(dataset, catalogue), by_time.cut, requests, rule))


def requests_of(dataset: Dataset, by_time: TimeSplit) -> list[Request]:
    """One of each reader of the test, at the first reading to find; others are known up to the cut."""
    times = dataset.readings.time
    return [
        Request(int(times[case.targets[0]]), by_time.cut, case.past, case.targets)
        for case in by_time.held_out
    ]


def alone(split: Split) -> dict[str, Scorer]:
    """The sources of the blend."""
    assert split.times is not None
    assert split.cut is not None
    return {
        "popular": recent_popularity(split.train, split.times, split.cut, days=RULE.popular_days),
        "item-knn": item_knn(split.train, split.history),
        "als": als(split.train, split.history),
    }


def trained(name: str, groups: Sequence[Group]) -> tuple[FeatureSpec, Fitted]:
    """A ranker of all groups, for as many rounds as are best on the last of them."""
    parts = parts_by_time(groups)
    _, tried = finish(fit_stopped(fit_of(name), parts.train, [*parts.valid, *parts.test], SEED))
    return finish(fit_whole(fit_of(name), parts.all, tried.rounds, SEED))


def by_groups(
    groups: Sequence[Group],
    by_time: TimeSplit,
    split: Split,
    spec: FeatureSpec | None = None,
    fitted: Fitted | None = None,
) -> Scorer:
    """Each reader's candidates by a ranker, or in the order that they have; all other posts score -inf."""
    column = {item_id: number for number, item_id in enumerate(split.item_ids)}
    of_reader = dict(zip((case.reader for case in by_time.held_out), groups, strict=True))
    maker = Featuriser(spec) if spec else None

    def score(rows: Rows) -> Scores:
        scores = np.full((len(rows), split.n_items), -np.inf, np.float32)
        for place, reader in enumerate(rows):
            group = of_reader[reader]
            own = -np.arange(len(group.posts), dtype=np.float32)
            if maker and fitted:
                own = fitted.score(maker.features(group.reader, group.posts))
            scores[place, [column[post.item_id] for post in group.posts]] = own
        return scores

    return score


def row_of(name: str, ranking: Ranking, blend: Ranking, seconds: float = 0.0) -> dict[str, str | int]:
    row: dict[str, str | int] = {"model": name, "readers": len(ranking.readers)}
    means, over = intervals(ranking.values), gains(ranking, blend)
    for metric in (RECALL, NDCG):
        mean, gain = means[metric], over[metric]
        row[metric] = f"{mean.mean:.4f}"
        row[f"{metric}_interval"] = f"[{mean.low:.4f}, {mean.high:.4f}]"
        row[f"{metric}_gain_over_blend"] = f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
    return row | {"seconds": f"{seconds:.0f}"}


if __name__ == "__main__":
    main()
