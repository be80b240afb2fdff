"""The graph that random walks go over (Pixie, WWW 2018): nothing is fitted, it is who read what."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from nearfeed_contracts.runs import GRAPH, Manifest
from nearfeed_core.pixie.building import build
from nearfeed_core.pixie.files import Head, save
from nearfeed_core.pixie.ids import hashes_of
from nearfeed_embedder.baselines.random_walk import random_walk
from nearfeed_embedder.comparison.quality_gate import check_quality, metrics_of_the_past
from nearfeed_embedder.dataset import Dataset, TooLittleDataError
from nearfeed_embedder.evaluation.split import Scorer, Split
from nearfeed_embedder.run_folder import new_run
from nearfeed_embedder.stages import Stage
from nearfeed_embedder.trainers.task import Task, Training
from nearfeed_runtime.operations import Progress

MODEL = "random-walk"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def write_walk_run(
    runs_url: str,
    dataset: Dataset,
    *,
    metrics: Mapping[str, Any] = _NOTHING,
    configuration: Mapping[str, Any] = _NOTHING,
) -> Manifest:
    """Writes a new run folder of kind `graph`; where that fails, none is left.

    An edge is a reading that counts. Raises TooLittleDataError where there is none, and TooManyEdgesError.
    """
    if not len(dataset.readings):
        raise TooLittleDataError(
            "There are no readings to walk on: import interactions first (nearfeed import)."
        )
    with new_run(runs_url, MODEL) as run:
        head = _save_graph(f"{run.url}/{GRAPH.rpartition('/')[0]}", dataset)
        return run.seal(
            dataset,
            ["numba", "numpy"],
            kind="graph",
            rows={"posts": head.posts, "readers": head.readers, "edges": head.edges},
            metrics=dict(metrics),
            configuration=dict(configuration),
        )


def _save_graph(url: str, dataset: Dataset) -> Head:
    readings = dataset.readings
    graph = build(
        readings.item.astype(np.uint32),
        readings.reader.astype(np.uint32),
        [post.item_id for post in dataset.posts],
        hashes_of(dataset.reader_ids),
    )
    return save(graph, url)


def train_random_walk(task: Task) -> Training:
    """Raises RefusedModelError and TooManyEdgesError."""

    def scorer_of(split: Split) -> Stage[Scorer]:
        yield Progress("Graph (evaluation)", 1, 1)
        return random_walk(split.train, split.history, seed=task.settings.seed)

    metrics = yield from metrics_of_the_past(MODEL, task.dataset, scorer_of)
    check_quality(MODEL, metrics, force=task.force)
    yield Progress("Writing run", 0, 1)
    manifest = write_walk_run(
        task.settings.runs_url, task.dataset, metrics=metrics, configuration=task.configuration
    )
    yield Progress("Writing run", 1, 1)
    return manifest
