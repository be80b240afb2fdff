"""Writes what was trained as a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nearfeed_contracts.runs import Block, Manifest, write_vectors
from nearfeed_embedder.dataset import Dataset
from nearfeed_embedder.encoder import FOLDER, Encoder, save_encoder
from nearfeed_embedder.parts import Parts
from nearfeed_embedder.run_folder import new_run
from nearfeed_embedder.shifts import save_shifts

MODEL = "pinsage-linear"
_LIBRARIES = ("torch", "dgl", "numba", "transformers", "numpy", "scipy")


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
    ids, parts = [post.item_id for post in dataset.posts], outcome.parts
    with new_run(runs_url, MODEL) as run:
        versions = dataset.versions.tolist()
        write_vectors(run.url, ids, parts.vectors, contexts=parts.contexts, versions=versions)
        save_encoder(outcome.encoder, run.url)
        save_shifts(f"{run.url}/{FOLDER}", ids, parts.flat - outcome.as_new.flat)
        return run.seal(
            dataset,
            _LIBRARIES,
            dim=parts.vectors.shape[1],
            blocks=outcome.blocks,
            rows={"vectors": len(ids)},
            metrics=dict(outcome.metrics),
            configuration=dict(outcome.configuration),
        )
