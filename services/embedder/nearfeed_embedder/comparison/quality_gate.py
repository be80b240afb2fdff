"""What every training tells of its model: how one of the past finds what was read later, and whether it is
worth a run."""

from collections.abc import Callable, Mapping
from typing import Any

from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.fields import from_micros
from nearfeed_core.splits import split_by_time
from nearfeed_embedder.baselines.item_knn import item_knn
from nearfeed_embedder.baselines.popularity import popularity
from nearfeed_embedder.comparison.compare import compare
from nearfeed_embedder.dataset import Dataset, can_train_on
from nearfeed_embedder.evaluation.by_time import split_dataset
from nearfeed_embedder.evaluation.ranking import RECALL, Ranking, rank
from nearfeed_embedder.evaluation.split import Scorer, Split
from nearfeed_embedder.stages import Stage
from nearfeed_runtime.operations import Progress


class RefusedModelError(ConflictError):
    """A model that is worse than popularity."""


def metrics_of_the_past(
    model: str, dataset: Dataset, train: Callable[[Split], Stage[Scorer]]
) -> Stage[dict[str, Any]]:
    """The metrics of a manifest: of `model` as `train` makes it of what lies before a cut in time.

    {} where nobody has read on after the cut, or too little lies before it.
    """
    readings = dataset.readings
    by_time = split_by_time(readings.reader, readings.item, readings.time, len(dataset.posts))
    if not by_time.held_out or not can_train_on(readings.take(by_time.train)):
        return {}
    split = split_dataset(dataset, by_time)
    scorer = yield from train(split)
    return (yield from metrics_of(model, {model: scorer}, split))


def metrics_of(model: str, scorers: Mapping[str, Scorer], split: Split) -> Stage[dict[str, Any]]:
    """Of the scorers beside popularity and item-kNN, with the gains of `model` over the others."""
    assert split.cut is not None
    beside = {
        "popularity": popularity(split.train),
        "item-knn": item_knn(split.train, split.history),
    }
    compared = {**scorers, **{name: scorer for name, scorer in beside.items() if name not in scorers}}
    rankings: dict[str, Ranking] = {}
    for name, scorer in compared.items():
        rankings[name] = rank(scorer, split)
        yield Progress("Evaluating", len(rankings), len(compared))
    return {"cut": from_micros(split.cut).isoformat(), **compare(model, rankings)}


def check_quality(model: str, metrics: Mapping[str, Any], *, force: bool) -> None:
    """Raises RefusedModelError for a recall below that of popularity."""
    if not metrics or force:
        return
    own, popular = (metrics["models"][name][RECALL]["mean"] for name in (model, "popularity"))
    if own < popular:
        raise RefusedModelError(
            f"No run was written: its {RECALL} is {own:.4f}, that of popularity is {popular:.4f}; "
            "train on more readings or with other options, or write it all the same with --force."
        )
