"""How a tower scores posts, and for how many epochs one is best trained."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nearfeed_contracts.runs import Block, Manifest, write_vectors
from nearfeed_core.splits import TimeSplit, split_by_time
from nearfeed_embedder.dataset import Dataset, can_train_on
from nearfeed_embedder.evaluation.by_time import split_dataset
from nearfeed_embedder.evaluation.ranking import RECALL, rank
from nearfeed_embedder.evaluation.split import Scorer
from nearfeed_embedder.evaluation.vectors import Vectors, by_vectors
from nearfeed_embedder.onnx_files import onnx_bytes
from nearfeed_embedder.run_folder import new_run, put_file
from nearfeed_embedder.stages import Stage
from nearfeed_embedder.towers.fitting import fit_tower
from nearfeed_embedder.towers.youtube import TowerRule, TwoRoles

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

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


def fit_past(past: Dataset, rule: TowerRule, seed: int) -> Stage[tuple[TwoRoles, int]]:
    """A tower of all readings of `past`, for as many epochs as are best on the last of these."""
    epochs = yield from _choose_epochs(past, rule, seed)
    model, _ = yield from fit_tower(past, rule, seed=seed, stage="Training (evaluation)", epochs=epochs)
    return model, epochs


def scorer_of(model: TwoRoles, history: "csr_matrix") -> Scorer:
    """As it is served: by `history` (readers, items) readers are pooled, of which the tower makes queries."""
    vectors, contexts = (part.numpy() for part in model.found())

    def query(pooled: Vectors) -> Vectors:
        with torch.no_grad():
            return np.asarray(model.tower(torch.from_numpy(pooled)).numpy(), np.float32)

    return by_vectors(vectors, contexts, blocks_of(vectors.shape[1]), history, tower=query)


def _choose_epochs(past: Dataset, rule: TowerRule, seed: int) -> Stage[int]:
    by_time = _split(past)
    earlier = past.before(by_time.cut)
    if not by_time.held_out or not can_train_on(earlier.readings):
        return rule.epochs
    split = split_dataset(past, by_time)

    def recall(model: TwoRoles) -> float:
        return rank(scorer_of(model, split.history), split).mean(RECALL)

    _, epochs = yield from fit_tower(earlier, rule, seed=seed, stage="Choosing", validate=recall)
    return epochs


def _split(dataset: Dataset) -> TimeSplit:
    readings = dataset.readings
    return split_by_time(readings.reader, readings.item, readings.time, len(dataset.posts))
