"""`train --model NAME` of rankers: groups, an evaluation on the last of them, and a ranker of all."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import Engine

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.runs import Manifest
from nearfeed_core.ranking_features import FeatureSpec, Featuriser, fit_spec
from nearfeed_embedder.dataset import check_trainable
from nearfeed_embedder.load import read_dataset
from nearfeed_embedder.rankers.catalogue import read_catalogue
from nearfeed_embedder.rankers.examples import Group, Table, parts_by_time, table_of
from nearfeed_embedder.rankers.fitting import Fit, Fitted, Task
from nearfeed_embedder.rankers.lambdamart import fit_lambdamart
from nearfeed_embedder.rankers.ledger import read_ledger
from nearfeed_embedder.rankers.measures import by_readers, given_order, measured, told
from nearfeed_embedder.rankers.replay import History, ReplayRule, replay
from nearfeed_embedder.rankers.writing import write_ranker
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import Stage

RANKERS = ("lambdamart", "fm", "ffm", "wide-deep", "deepfm")


class UnknownRankerError(NearfeedError):
    """A name that no trainer of rankers has."""


def train_ranker(
    settings: EmbedderSettings,
    engine: Engine,
    name: str,
    *,
    from_history: bool = False,
    until: int | None = None,
    rule: ReplayRule | None = None,
) -> Stage[Manifest]:
    """Writes a run of kind ranker, of what was served, or `from_history` of past readings.

    What is served or read at `until` (microseconds since 1970) and later is left out. `rule` is that
    of the replay. Raises UnknownRankerError, TooFewExamplesError and TooLittleDataError.
    """
    fit = fit_of(name)
    rule = rule or ReplayRule(seed=settings.seed)
    if from_history:
        groups = yield from _replayed(settings, engine, until, rule)
    else:
        groups = yield from read_ledger(engine, settings.weight_rule, until=until)
    parts = parts_by_time(groups)
    spec, tried = yield from fit_stopped(fit, parts.train, parts.valid, settings.seed)
    test = served_table(parts.test, spec)
    found = {
        name: measured(tried.score(test.features), test),
        "order as served": measured(given_order(parts.test), test),
        "popularity": measured(by_readers(parts.test), test),
    }
    telling = [*parts.train, *parts.valid, *parts.test]
    final_spec, fitted = yield from fit_whole(fit, telling, tried.rounds, settings.seed)
    return write_ranker(
        settings.runs_url,
        name,
        final_spec,
        fitted,
        telling,
        metrics=told(name, found),
        configuration=_configuration(settings, rule if from_history else None, tried.rounds),
    )


def fit_of(name: str) -> Fit:
    """Raises UnknownRankerError."""
    if name == "lambdamart":
        return fit_lambdamart
    if name not in RANKERS:
        raise UnknownRankerError(f"{name} is no ranker; there are {', '.join(RANKERS)}.")
    # torch-rechub takes seconds to import, which LambdaMART need not wait for.
    from nearfeed_embedder.rankers.neural import fit_network

    return partial(fit_network, name)


def fit_stopped(
    fit: Fit, train: Sequence[Group], valid: Sequence[Group], seed: int
) -> Stage[tuple[FeatureSpec, Fitted]]:
    """Of `train`, stopped by `valid`."""
    spec = _spec(train)
    task = Task(spec, _learned(train, spec), seed, valid=served_table(valid, spec))
    return spec, (yield from fit(task))


def fit_whole(
    fit: Fit, groups: Sequence[Group], rounds: int, seed: int
) -> Stage[tuple[FeatureSpec, Fitted]]:
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


def _replayed(
    settings: EmbedderSettings, engine: Engine, until: int | None, rule: ReplayRule
) -> Stage[list[Group]]:
    dataset = yield from read_dataset(engine, settings.weight_rule)
    if until is not None:
        dataset = dataset.before(until)
    check_trainable(dataset)
    return (yield from replay(History(dataset, read_catalogue(engine, dataset)), rule))


def _configuration(settings: EmbedderSettings, rule: ReplayRule | None, rounds: int) -> dict[str, Any]:
    return {
        "groups": "served" if rule is None else "replayed",
        "sources": None if rule is None else list(rule.sources),
        "rounds": rounds,
        "seed": settings.seed,
    }
