"""ALS for implicit feedback as a space: readers are folded in by pooling."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from nearfeed_contracts.runs import write_vectors
from nearfeed_embedder.baselines.als import fit_als
from nearfeed_embedder.comparison.quality_gate import check_quality, metrics_of_the_past
from nearfeed_embedder.evaluation.by_time import read_matrix
from nearfeed_embedder.evaluation.split import Scorer, Split, column_counts
from nearfeed_embedder.evaluation.vectors import by_vectors_of_some
from nearfeed_embedder.linear.autoencoder import Whitened, whitened
from nearfeed_embedder.run_folder import new_run
from nearfeed_embedder.stages import Stage
from nearfeed_embedder.trainers.task import Task, Training
from nearfeed_runtime.operations import Progress

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MODEL = "als"


def train_als(
    task: Task,
    *,
    factors: Annotated[int, Field(ge=1, le=2048)] = 128,
    alpha: Annotated[float, Field(gt=1)] = 10.0,
    ridge: Annotated[float, Field(gt=0)] = 100.0,
    iterations: Annotated[int, Field(ge=1)] = 15,
) -> Training:
    """Hu, Koren and Volinsky, ICDM 2008, as the library implicit fits it, for posts that somebody has read.

    Raises RefusedModelError.
    """

    def space_of(read: "csr_matrix", stage: str) -> Stage[Whitened]:
        model = yield from fit_als(
            read,
            factors=factors,
            alpha=alpha,
            ridge=ridge,
            iterations=iterations,
            seed=task.settings.seed,
            stage=stage,
        )
        return whitened(model.item_factors, ridge=ridge, alpha=alpha)

    def scorer_of(split: Split) -> Stage[Scorer]:
        space = yield from space_of(split.train, "Training (evaluation)")
        there = split.readers_of > 0
        return by_vectors_of_some(space.vectors, space.vectors, space.blocks, split.history, there)

    metrics = yield from metrics_of_the_past(MODEL, task.dataset, scorer_of)
    check_quality(MODEL, metrics, force=task.force)
    read = read_matrix(task.dataset)
    space = yield from space_of(read, "Training (all)")
    rows = np.flatnonzero(column_counts(read))
    yield Progress("Writing run", 0, 1)
    with new_run(task.settings.runs_url, MODEL) as run:
        write_vectors(run.url, [task.dataset.posts[row].item_id for row in rows], space.vectors[rows])
        manifest = run.seal(
            task.dataset,
            ["implicit", "numpy", "scipy"],
            dim=factors,
            blocks=space.blocks,
            rows={"vectors": len(rows)},
            metrics=metrics,
            configuration=dict(task.configuration),
        )
    yield Progress("Writing run", 1, 1)
    return manifest
