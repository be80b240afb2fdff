"""Rankers of what was served, or of past readings that are gone through again."""

from typing import Annotated

from pydantic import Field

from nearfeed_embedder.rankers.catalogue import read_catalogue
from nearfeed_embedder.rankers.examples import Group, parts_by_time
from nearfeed_embedder.rankers.ledger import read_ledger
from nearfeed_embedder.rankers.replay import History, ReplayRule, replay, sources_of
from nearfeed_embedder.rankers.training import evaluate_ranker, fit_of, fit_whole
from nearfeed_embedder.rankers.writing import write_ranker
from nearfeed_embedder.stages import Stage
from nearfeed_embedder.trainers.task import Task, Training
from nearfeed_runtime.operations import Progress

DEFAULT_SOURCES = "+".join(ReplayRule.sources)
Requests = Annotated[int, Field(ge=1)]


def train_lambdamart(
    task: Task,
    *,
    from_history: bool = False,
    sources: str = DEFAULT_SOURCES,
    requests: Requests = ReplayRule.requests,
) -> Training:
    """Burges, MSR-TR-2010-82, as LightGBM fits it."""
    return _train("lambdamart", task, from_history, sources, requests)


def train_fm(
    task: Task,
    *,
    from_history: bool = False,
    sources: str = DEFAULT_SOURCES,
    requests: Requests = ReplayRule.requests,
) -> Training:
    """Rendle, ICDM 2010."""
    return _train("fm", task, from_history, sources, requests)


def train_ffm(
    task: Task,
    *,
    from_history: bool = False,
    sources: str = DEFAULT_SOURCES,
    requests: Requests = ReplayRule.requests,
) -> Training:
    """Juan et al., RecSys 2016."""
    return _train("ffm", task, from_history, sources, requests)


def train_wide_deep(
    task: Task,
    *,
    from_history: bool = False,
    sources: str = DEFAULT_SOURCES,
    requests: Requests = ReplayRule.requests,
) -> Training:
    """Cheng et al., DLRS 2016."""
    return _train("wide-deep", task, from_history, sources, requests)


def train_deepfm(
    task: Task,
    *,
    from_history: bool = False,
    sources: str = DEFAULT_SOURCES,
    requests: Requests = ReplayRule.requests,
) -> Training:
    """Guo et al., IJCAI 2017."""
    return _train("deepfm", task, from_history, sources, requests)


def _train(name: str, task: Task, from_history: bool, sources: str, requests: int) -> Training:
    """Of the served ledger, or `from_history` of a replay with candidates of `sources`, joined by +.

    `requests` are replayed in each window of time.

    Raises TooFewExamplesError and UnknownSourceError. It is not refused for what it is worth: its metrics
    stand beside those of the order as served.
    """
    seed = task.settings.seed
    if from_history:
        groups = yield from _replayed(task, ReplayRule(sources_of(sources), requests=requests, seed=seed))
    else:
        groups = yield from read_ledger(task.engine, task.settings.weight_rule, until=task.until)
    parts = parts_by_time(groups)
    rounds, metrics = yield from evaluate_ranker(name, parts, seed)
    spec, fitted = yield from fit_whole(fit_of(name), parts.all, rounds, seed)
    yield Progress("Writing run", 0, 1)
    manifest = write_ranker(
        task.settings.runs_url,
        name,
        task.dataset,
        parts.all,
        spec,
        fitted,
        metrics=metrics,
        configuration={**task.configuration, "rounds": rounds},
    )
    yield Progress("Writing run", 1, 1)
    return manifest


def _replayed(task: Task, rule: ReplayRule) -> Stage[list[Group]]:
    history = History(task.dataset, read_catalogue(task.engine, task.dataset))
    return (yield from replay(history, rule))
