"""Writes the graph of who read what as a run that random walks go over."""

from datetime import UTC, datetime

import numpy as np
from fsspec.core import url_to_fs

from nearfeed_contracts.runs import GRAPH, Manifest, run_url, write_manifest
from nearfeed_core.pixie.building import build
from nearfeed_core.pixie.files import Head, save
from nearfeed_core.pixie.ids import hashes_of
from nearfeed_embedder.dataset import Dataset, TooLittleDataError
from nearfeed_embedder.run import free_name, versions_of, window_of

MODEL = "random-walk"
_LIBRARIES = ("nearfeed", "numba", "numpy")


def write_walk_run(runs_url: str, dataset: Dataset) -> Manifest:
    """Writes a new run folder of kind `graph`; where that fails, none is left.

    An edge is a reading that counts. Raises TooLittleDataError where there is none, and TooManyEdgesError.
    """
    if not len(dataset.readings):
        raise TooLittleDataError(
            "There are no readings to walk on: import interactions first (nearfeed import)."
        )
    now = datetime.now(UTC)
    space = free_name(runs_url, now, MODEL)
    url = run_url(runs_url, space)
    fs, root = url_to_fs(url)
    try:
        head = _save_graph(f"{url}/{GRAPH.rpartition('/')[0]}", dataset)
        return write_manifest(url, _manifest(space, now, dataset, head))
    except BaseException:
        if fs.exists(root):
            fs.rm(root, recursive=True)
        raise


def _save_graph(url: str, dataset: Dataset) -> Head:
    readings = dataset.readings
    graph = build(
        readings.item.astype(np.uint32),
        readings.reader.astype(np.uint32),
        [post.item_id for post in dataset.posts],
        hashes_of(dataset.reader_ids),
    )
    return save(graph, url)


def _manifest(space: str, now: datetime, dataset: Dataset, head: Head) -> Manifest:
    return Manifest(
        space=space,
        kind="graph",
        model=MODEL,
        created_at=now,
        data=window_of(dataset),
        rows={"posts": head.posts, "readers": head.readers, "edges": head.edges},
        libraries=versions_of(_LIBRARIES),
        configuration={"model": MODEL, "half_life_days": dataset.half_life_days},
    )
