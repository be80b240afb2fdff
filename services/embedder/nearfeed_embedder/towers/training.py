"""`train --model youtube-dnn`: an evaluation of a model of the past, and the model of everything."""

from typing import Any

import numpy as np
import torch
from sqlalchemy import Engine

from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.runs import Manifest
from nearfeed_core.splits import TimeSplit, split_by_time
from nearfeed_embedder.baselines.item_knn import item_knn
from nearfeed_embedder.baselines.popularity import popularity
from nearfeed_embedder.dataset import Dataset, can_train_on, check_trainable
from nearfeed_embedder.evaluation.by_time import split_dataset
from nearfeed_embedder.evaluation.compare import compare
from nearfeed_embedder.evaluation.ranking import RECALL, rank
from nearfeed_embedder.evaluation.split import Scorer, Split
from nearfeed_embedder.evaluation.vectors import Querying, Vectors, by_vectors
from nearfeed_embedder.load import read_dataset
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import Stage
from nearfeed_embedder.towers.fitting import fit_tower
from nearfeed_embedder.towers.writing import NAME, blocks_of, write_tower
from nearfeed_embedder.towers.youtube import Tower, TowerRule, TwoRoles


def train_youtube_dnn(
    settings: EmbedderSettings,
    engine: Engine,
    *,
    until: int | None = None,
    rule: TowerRule | None = None,
) -> Stage[Manifest]:
    """Writes a run of kind vectors with a tower, of the readings before `until` (microseconds since 1970).

    Raises TooLittleDataError.
    """
    rule = rule or TowerRule()
    dataset = yield from read_dataset(engine, settings.weight_rule)
    if until is not None:
        dataset = dataset.before(until)
    check_trainable(dataset)
    epochs, metrics = yield from evaluate_tower(dataset, rule, settings.seed)
    model, _ = yield from fit_tower(dataset, rule, seed=settings.seed, stage="Training (all)", epochs=epochs)
    told = {"tower": rule.to_json(), "epochs": epochs, "seed": settings.seed}
    return write_tower(settings.runs_url, dataset, model, metrics=metrics, configuration=told)


def evaluate_tower(dataset: Dataset, rule: TowerRule, seed: int) -> Stage[tuple[int, dict[str, Any]]]:
    """For how many epochs to train, and metrics of a tower that was trained before the cut.

    The metrics are {} where nobody has read on after the cut.
    """
    by_time = _split(dataset)
    past = dataset.before(by_time.cut)
    if not by_time.held_out or not can_train_on(past.readings):
        return rule.epochs, {}
    model, epochs = yield from fit_past(past, rule, seed)
    split = split_dataset(dataset, by_time)
    rankings = {
        NAME: rank(scorer_of(model, split), split),
        "popularity": rank(popularity(split.train), split),
        "item-knn": rank(item_knn(split.train, split.history), split),
    }
    return epochs, {"cut": from_micros(by_time.cut).isoformat(), **compare(NAME, rankings)}


def fit_past(past: Dataset, rule: TowerRule, seed: int) -> Stage[tuple[TwoRoles, int]]:
    """A tower of all readings of `past`, for as many epochs as are best on the last of these."""
    epochs = yield from _choose_epochs(past, rule, seed)
    model, _ = yield from fit_tower(past, rule, seed=seed, stage="Training (evaluation)", epochs=epochs)
    return model, epochs


def scorer_of(model: TwoRoles, split: Split) -> Scorer:
    vectors, contexts = (part.numpy() for part in model.found())
    blocks = blocks_of(vectors.shape[1])
    return by_vectors(vectors, contexts, blocks, split.history, tower=_querying(model.tower))


def _choose_epochs(past: Dataset, rule: TowerRule, seed: int) -> Stage[int]:
    by_time = _split(past)
    earlier = past.before(by_time.cut)
    if not by_time.held_out or not can_train_on(earlier.readings):
        return rule.epochs
    split = split_dataset(past, by_time)

    def recall(model: TwoRoles) -> float:
        return rank(scorer_of(model, split), split).mean(RECALL)

    _, epochs = yield from fit_tower(earlier, rule, seed=seed, stage="Choosing", validate=recall)
    return epochs


def _querying(tower: Tower) -> Querying:
    def query(pooled: Vectors) -> Vectors:
        with torch.no_grad():
            return np.asarray(tower(torch.from_numpy(pooled)).numpy(), np.float32)

    return query


def _split(dataset: Dataset) -> TimeSplit:
    readings = dataset.readings
    return split_by_time(readings.reader, readings.item, readings.time, len(dataset.posts))
