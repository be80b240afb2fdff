"""Writes what was trained as a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from fsspec.core import url_to_fs
from numpy.typing import NDArray

from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.runs import Block, DataWindow, Manifest, run_url, write_manifest, write_vectors
from nearfeed_embedder.dataset import Dataset
from nearfeed_embedder.encoder import FOLDER, Encoder, save_encoder
from nearfeed_embedder.shifts import save_shifts

MODEL = "pinsage"
_LIBRARIES = ("nearfeed", "torch", "dgl", "transformers", "numpy", "scipy")


@dataclass(frozen=True)
class Outcome:
    """What was trained: vectors and shifts (n, dim) of the dataset's posts, and how they came about."""

    vectors: NDArray[np.float32]
    shifts: NDArray[np.float32]
    encoder: Encoder
    metrics: Mapping[str, Any]
    configuration: Mapping[str, Any]


def blocks_of(dim: int) -> tuple[Block, ...]:
    """A reader is the weighted average of what they read."""
    return (Block(start=0, dim=dim, pooling="mean"),)


def write_run(runs_url: str, dataset: Dataset, outcome: Outcome) -> Manifest:
    """Writes a new run folder; where that fails, none is left."""
    now = datetime.now(UTC)
    space = free_name(runs_url, now)
    url = run_url(runs_url, space)
    fs, root = url_to_fs(url)
    try:
        ids = [post.item_id for post in dataset.posts]
        write_vectors(url, ids, outcome.vectors, versions=dataset.versions.tolist())
        save_encoder(outcome.encoder, url)
        save_shifts(f"{url}/{FOLDER}", ids, outcome.shifts)
        return write_manifest(url, _manifest(space, now, dataset, outcome))
    except BaseException:
        if fs.exists(root):
            fs.rm(root, recursive=True)
        raise


def free_name(runs_url: str, now: datetime) -> str:
    """A name that no run has: the model and the time."""
    name = first = f"{MODEL}-{now:%Y%m%d-%H%M%S}"
    fs, root = url_to_fs(runs_url)
    count = 1
    while fs.exists(f"{root}/{name}"):
        count += 1
        name = f"{first}-{count}"
    return name


def _manifest(space: str, now: datetime, dataset: Dataset, outcome: Outcome) -> Manifest:
    dim = outcome.vectors.shape[1]
    return Manifest(
        space=space,
        model=MODEL,
        dim=dim,
        blocks=blocks_of(dim),
        created_at=now,
        data=_window(dataset),
        rows={"vectors": len(outcome.vectors)},
        metrics=dict(outcome.metrics),
        libraries=_versions(_LIBRARIES),
        configuration=dict(outcome.configuration),
    )


def _window(dataset: Dataset) -> DataWindow:
    readings = dataset.readings
    return DataWindow(
        first=from_micros(int(readings.time.min())),
        last=from_micros(int(readings.time.max())),
        readers=len(np.unique(readings.reader)),
        items=len(dataset.posts),
        readings=len(readings),
    )


def _versions(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
