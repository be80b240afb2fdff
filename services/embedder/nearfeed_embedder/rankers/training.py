"""A ranker of groups, and how well one of earlier groups orders the later ones."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from nearfeed_core.ranking_features import FeatureSpec, Featuriser, fit_spec
from nearfeed_embedder.rankers.examples import Fit, Fitted, Group, Table, Task, TimeParts, table_of
from nearfeed_embedder.rankers.lambdamart import fit_lambdamart
from nearfeed_embedder.rankers.measures import by_readers, given_order, measured, summary
from nearfeed_embedder.stages import Stage

NEURAL = ("fm", "ffm", "wide-deep", "deepfm")
RANKERS = ("lambdamart", *NEURAL)


def fit_of(name: str) -> Fit:
    """What fits a ranker of RANKERS."""
    if name == "lambdamart":
        return fit_lambdamart
    # torch-rechub takes seconds to import, which LambdaMART need not wait for.
    from nearfeed_embedder.rankers.neural import fit_network

    return partial(fit_network, name)


def evaluate_ranker(name: str, parts: TimeParts, seed: int) -> Stage[tuple[int, dict[str, Any]]]:
    """For how many rounds to fit, and metrics on the last groups beside the order that they had."""
    spec, tried = yield from fit_stopped(fit_of(name), parts.train, parts.valid, seed)
    test = served_table(parts.test, spec)
    found = {
        name: measured(tried.score(test.features), test),
        "order as served": measured(given_order(parts.test), test),
        "popularity": measured(by_readers(parts.test), test),
    }
    return tried.rounds, summary(name, found)


def fit_stopped(
    fit: Fit, train: Sequence[Group], valid: Sequence[Group], seed: int
) -> Stage[tuple[FeatureSpec, Fitted]]:
    """Of `train`, stopped by `valid`."""
    spec = _spec(train)
    task = Task(spec, _learned(train, spec), seed, valid=served_table(valid, spec))
    return spec, (yield from fit(task))


def fit_whole(fit: Fit, groups: Sequence[Group], rounds: int, seed: int) -> Stage[tuple[FeatureSpec, Fitted]]:
    """Of all groups, for a number of rounds."""
    spec = _spec(groups)
    return spec, (yield from fit(Task(spec, _learned(groups, spec), seed, rounds=rounds)))


def served_table(groups: Sequence[Group], spec: FeatureSpec) -> Table:
    """With features as they are when served."""
    return table_of(groups, Featuriser(spec), positions=False)


def _learned(groups: Sequence[Group], spec: FeatureSpec) -> Table:
    return table_of(groups, Featuriser(spec), positions=True)


def _spec(groups: Sequence[Group]) -> FeatureSpec:
    return fit_spec([(group.reader, group.posts) for group in groups])
