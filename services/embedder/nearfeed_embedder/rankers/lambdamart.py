"""LambdaMART (Burges, MSR-TR-2010-82) as LightGBM fits it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfeed_core.ranking_features import CATEGORIES, FeatureSpec
from nearfeed_embedder.evaluation.ranking import K
from nearfeed_embedder.rankers.examples import THREADS, Fitted, Table, Task
from nearfeed_embedder.stages import Stage
from nearfeed_runtime.operations import Progress

MOST_TREES = 400
PATIENCE = 40
HIGHEST_GRADE = 5
_STEP = 20


def fit_lambdamart(task: Task) -> Stage[Fitted]:
    """Trees until the NDCG of `valid` has not grown for 40 of them, 400 at most."""
    # lightgbm takes a while to import, which no other trainer needs.
    import lightgbm

    most = task.rounds or MOST_TREES
    train = _dataset(task.train, task.spec)
    booster = lightgbm.Booster(_parameters(task.seed), train)
    if task.valid is not None:
        booster.add_valid(_dataset(task.valid, task.spec, reference=train), "valid")
    best, rounds = -np.inf, 0
    for tree in range(1, most + 1):
        booster.update()
        found = booster.eval_valid()[0][2] if task.valid is not None else float(tree)
        if found > best:
            best, rounds = found, tree
        if not tree % _STEP:
            yield Progress("Growing trees", tree, most)
        if tree - rounds == PATIENCE:
            break
    yield Progress("Growing trees", most, most)

    def score(features: Any) -> NDArray[np.float32]:
        predicted = booster.predict(features.flat, num_iteration=rounds, num_threads=THREADS)
        return np.asarray(predicted, np.float32)

    return Fitted(score, rounds, "lightgbm", lambda: booster.model_to_string(num_iteration=rounds).encode())


def _dataset(table: Table, spec: FeatureSpec, reference: Any = None) -> Any:
    import lightgbm

    grades = np.minimum(np.ceil(table.grades), HIGHEST_GRADE)
    names = [*spec.dense, *CATEGORIES]
    return lightgbm.Dataset(
        table.features.flat,
        grades,
        group=table.sizes,
        reference=reference,
        feature_name=[name.replace(":", "_of_") for name in names],
        categorical_feature=list(range(len(spec.dense), len(names))),
        params={"verbosity": -1, "num_threads": THREADS},
    )


def _parameters(seed: int) -> dict[str, Any]:
    return {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [K],
        "lambdarank_truncation_level": K + 10,
        "learning_rate": 0.05,
        "num_leaves": 15,
        "min_data_in_leaf": 50,
        "feature_fraction": 0.8,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "cat_smooth": 50.0,
        "min_data_per_group": 200,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "num_threads": THREADS,
        "verbosity": -1,
    }
