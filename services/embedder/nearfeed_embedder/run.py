"""Writes what was trained as a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from fsspec.core import url_to_fs

from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.runs import Block, DataWindow, Manifest, run_url, write_manifest, write_vectors
from nearfeed_embedder.dataset import Dataset
from nearfeed_embedder.encoder import FOLDER, Encoder, save_encoder
from nearfeed_embedder.parts import Parts
from nearfeed_embedder.shifts import save_shifts

MODEL = "pinsage-linear"
_LIBRARIES = ("nearfeed", "torch", "dgl", "numba", "transformers", "numpy", "scipy")


@dataclass(frozen=True)
class Outcome:
    """What was trained: the parts of the dataset's posts, as new ones too, and how they came about."""

    parts: Parts
    as_new: Parts
    blocks: tuple[Block, ...]
    encoder: Encoder
    metrics: Mapping[str, Any]
    configuration: Mapping[str, Any]


def write_run(runs_url: str, dataset: Dataset, outcome: Outcome) -> Manifest:
    """Writes a new run folder; where that fails, none is left."""
    now = datetime.now(UTC)
    space = free_name(runs_url, now)
    url = run_url(runs_url, space)
    fs, root = url_to_fs(url)
    try:
        ids = [post.item_id for post in dataset.posts]
        parts = outcome.parts
        write_vectors(url, ids, parts.vectors, contexts=parts.contexts, versions=dataset.versions.tolist())
        save_encoder(outcome.encoder, url)
        save_shifts(f"{url}/{FOLDER}", ids, parts.flat - outcome.as_new.flat)
        return write_manifest(url, _manifest(space, now, dataset, outcome))
    except BaseException:
        if fs.exists(root):
            fs.rm(root, recursive=True)
        raise


def free_name(runs_url: str, now: datetime, model: str = MODEL) -> str:
    """A name that no run has: the model and the time."""
    name = first = f"{model}-{now:%Y%m%d-%H%M%S}"
    fs, root = url_to_fs(runs_url)
    count = 1
    while fs.exists(f"{root}/{name}"):
        count += 1
        name = f"{first}-{count}"
    return name


def _manifest(space: str, now: datetime, dataset: Dataset, outcome: Outcome) -> Manifest:
    return Manifest(
        space=space,
        model=MODEL,
        dim=outcome.parts.vectors.shape[1],
        blocks=outcome.blocks,
        created_at=now,
        data=window_of(dataset),
        rows={"vectors": len(outcome.parts.graph)},
        metrics=dict(outcome.metrics),
        libraries=versions_of(_LIBRARIES),
        configuration=dict(outcome.configuration),
    )


def window_of(dataset: Dataset) -> DataWindow:
    """What of the data a model that learns from all of it has seen."""
    readings = dataset.readings
    return DataWindow(
        first=from_micros(int(readings.time.min())),
        last=from_micros(int(readings.time.max())),
        readers=len(np.unique(readings.reader)),
        items=len(dataset.posts),
        readings=len(readings),
    )


def versions_of(names: Sequence[str]) -> dict[str, str]:
    """The versions of those distributions that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
