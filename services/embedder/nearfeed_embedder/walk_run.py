"""Writes the graph of who read what as a run that random walks go over."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from nearfeed_contracts.runs import GRAPH, Manifest
from nearfeed_core.pixie.building import build
from nearfeed_core.pixie.files import Head, save
from nearfeed_core.pixie.ids import hashes_of
from nearfeed_embedder.dataset import Dataset, TooLittleDataError
from nearfeed_embedder.run_folder import new_run

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
