"""ALS for implicit feedback (Hu, Koren and Volinsky, ICDM 2008), as the library implicit fits it."""

from typing import TYPE_CHECKING, Any

import numpy as np

from nearfeed_embedder.dataset import Rows
from nearfeed_embedder.evaluation.split import Scorer, Scores
from nearfeed_embedder.stages import Stage, finish
from nearfeed_runtime.operations import Progress

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def als(
    train: "csr_matrix",
    history: "csr_matrix",
    *,
    factors: int = 128,
    alpha: float = 10.0,
    ridge: float = 100.0,
    iterations: int = 15,
    seed: int = 0,
) -> Scorer:
    """A reading's confidence is alpha times its weight; readers are folded in by their history."""
    stage = fit_als(train, factors=factors, alpha=alpha, ridge=ridge, iterations=iterations, seed=seed)
    model = finish(stage)

    def score(readers: Rows) -> Scores:
        folded = model.recalculate_user(np.arange(len(readers)), history[readers])
        return np.asarray(folded @ model.item_factors.T)

    return score


def fit_als(
    train: "csr_matrix",
    *,
    factors: int,
    alpha: float,
    ridge: float,
    iterations: int,
    seed: int,
    stage: str = "Training",
) -> Stage[Any]:
    """implicit's model of `train` (readers, items); a progress step for each iteration."""
    # implicit takes a second to import, which a comparison without it need not wait for.
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    model = AlternatingLeastSquares(
        factors=factors, regularization=ridge, alpha=alpha, iterations=1, random_state=seed
    )
    for iteration in range(iterations):
        yield Progress(stage, iteration, iterations)
        # implicit spreads readers over threads itself; those of BLAS would come on top.
        with threadpool_limits(1, "blas"):
            model.fit(train, show_progress=False)
    yield Progress(stage, iterations, iterations)
    return model
