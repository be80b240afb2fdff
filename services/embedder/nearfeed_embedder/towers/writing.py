"""Writes a tower and its posts as a run of vectors."""

from collections.abc import Mapping
from typing import Any

import torch

from nearfeed_contracts.runs import Block, Manifest, write_vectors
from nearfeed_embedder.dataset import Dataset
from nearfeed_embedder.onnx_files import onnx_bytes
from nearfeed_embedder.run_folder import new_run, put_file
from nearfeed_embedder.towers.youtube import TwoRoles

TOWER = "tower.onnx"
_LIBRARIES = ("numpy", "torch", "onnx", "onnxscript")


def blocks_of(dim: int) -> tuple[Block, ...]:
    """The mean of contexts, and the sum of weights in one column more."""
    return Block(start=0, dim=dim - 1), Block(start=dim - 1, dim=1, pooling="sum")


def write_tower(
    runs_url: str,
    name: str,
    dataset: Dataset,
    model: TwoRoles,
    *,
    metrics: Mapping[str, Any],
    configuration: Mapping[str, Any],
) -> Manifest:
    """Vectors and contexts of the dataset's posts, and `tower.onnx` from `pooled` to `query`."""
    vectors, contexts = (part.numpy() for part in model.found())
    dim = vectors.shape[1]
    ids = [post.item_id for post in dataset.posts]
    with new_run(runs_url, name) as run:
        write_vectors(run.url, ids, vectors, contexts=contexts, versions=dataset.versions.tolist())
        example = (torch.zeros(2, dim),)
        put_file(run.url, TOWER, onnx_bytes(model.tower, example, inputs=("pooled",), output="query"))
        return run.seal(
            dataset,
            _LIBRARIES,
            dim=dim,
            blocks=blocks_of(dim),
            tower=TOWER,
            rows={"vectors": len(ids)},
            metrics=dict(metrics),
            configuration=dict(configuration),
        )
