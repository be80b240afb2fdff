"""The candidates of a recommender of two stages; the second is any ranker."""

from typing import Annotated

from pydantic import Field

from nearfeed_embedder.comparison.quality_gate import check_quality, metrics_of_the_past
from nearfeed_embedder.evaluation.split import Scorer, Split
from nearfeed_embedder.stages import Stage
from nearfeed_embedder.towers.fitting import fit_tower
from nearfeed_embedder.towers.scoring import fit_past, scorer_of, write_tower
from nearfeed_embedder.towers.youtube import TowerRule
from nearfeed_embedder.trainers.task import Task, Training
from nearfeed_runtime.operations import Progress

MODEL = "youtube-dnn"


def train_youtube_dnn(
    task: Task,
    *,
    dim: Annotated[int, Field(ge=1, le=2047)] = TowerRule.dim,
    hidden: Annotated[int, Field(ge=1, le=8192)] = TowerRule.hidden,
    epochs: Annotated[int, Field(ge=1)] = TowerRule.epochs,
    each: Annotated[int, Field(ge=1)] = TowerRule.each,
    negatives: Annotated[int, Field(ge=1)] = TowerRule.negatives,
) -> Training:
    """Covington, Adams and Sargin, RecSys 2016. Raises RefusedModelError."""
    rule = TowerRule(dim=dim, hidden=hidden, epochs=epochs, each=each, negatives=negatives)
    seed, chosen = task.settings.seed, [rule.epochs]

    def of_the_past(split: Split) -> Stage[Scorer]:
        assert split.cut is not None
        model, chosen[0] = yield from fit_past(task.dataset.before(split.cut), rule, seed)
        return scorer_of(model, split.history)

    metrics = yield from metrics_of_the_past(MODEL, task.dataset, of_the_past)
    check_quality(MODEL, metrics, force=task.force)
    model, _ = yield from fit_tower(task.dataset, rule, seed=seed, stage="Training (all)", epochs=chosen[0])
    yield Progress("Writing run", 0, 1)
    manifest = write_tower(
        task.settings.runs_url,
        MODEL,
        task.dataset,
        model,
        metrics=metrics,
        configuration={**task.configuration, "epochs": chosen[0]},
    )
    yield Progress("Writing run", 1, 1)
    return manifest
