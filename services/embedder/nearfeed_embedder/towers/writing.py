"""Writes a tower and its posts as a run of vectors."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.runs import Block, DataWindow, Manifest, write_manifest, write_vectors
from nearfeed_embedder.dataset import Dataset
from nearfeed_embedder.onnx_files import onnx_bytes
from nearfeed_embedder.rankers.writing import new_run
from nearfeed_embedder.towers.youtube import TwoRoles

NAME = "youtube-dnn"
TOWER = "tower.onnx"
_LIBRARIES = ("nearfeed", "numpy", "torch", "onnx", "onnxscript")


def blocks_of(dim: int) -> tuple[Block, ...]:
    """The mean of contexts, and the sum of weights in one column more."""
    return Block(start=0, dim=dim - 1), Block(start=dim - 1, dim=1, pooling="sum")


def write_tower(
    runs_url: str,
    dataset: Dataset,
    model: TwoRoles,
    *,
    metrics: Mapping[str, Any],
    configuration: Mapping[str, Any],
) -> Manifest:
    """Vectors and contexts of the dataset's posts, and `tower.onnx` from `pooled` to `query`."""
    vectors, contexts = (part.numpy() for part in model.found())
    dim = vectors.shape[1]
    readings = dataset.readings
    with new_run(runs_url, NAME) as place:
        ids = [post.item_id for post in dataset.posts]
        write_vectors(place.url, ids, vectors, contexts=contexts, versions=dataset.versions.tolist())
        example = (torch.zeros(2, dim),)
        place.put(TOWER, onnx_bytes(model.tower, example, inputs=("pooled",), output="query"))
        manifest = Manifest(
            space=place.space,
            model=NAME,
            dim=dim,
            blocks=blocks_of(dim),
            tower=TOWER,
            created_at=place.created_at,
            data=DataWindow(
                first=from_micros(int(readings.time.min())),
                last=from_micros(int(readings.time.max())),
                readers=len(np.unique(readings.reader)),
                items=len(ids),
                readings=len(readings),
            ),
            rows={"vectors": len(ids)},
            metrics=dict(metrics),
            libraries={library: version(library) for library in _LIBRARIES},
            configuration=dict(configuration),
        )
        return write_manifest(place.url, manifest)
