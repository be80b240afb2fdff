"""The graph that random walks go over (Pixie, WWW 2018): nothing is fitted, it is who read what."""

from nearfeed_embedder.baselines.random_walk import random_walk
from nearfeed_embedder.comparison.quality_gate import check_quality, metrics_of_the_past
from nearfeed_embedder.evaluation.split import Scorer, Split
from nearfeed_embedder.stages import Stage
from nearfeed_embedder.trainers.task import Task, Training
from nearfeed_embedder.walk_run import MODEL, write_walk_run
from nearfeed_runtime.operations import Progress


def train_random_walk(task: Task) -> Training:
    """Raises RefusedModelError and TooManyEdgesError."""

    def scorer_of(split: Split) -> Stage[Scorer]:
        yield Progress("Graph (evaluation)", 1, 1)
        return random_walk(split.train, split.history, seed=task.settings.seed)

    metrics = yield from metrics_of_the_past(MODEL, task.dataset, scorer_of)
    check_quality(MODEL, metrics, force=task.force)
    yield Progress("Writing run", 0, 1)
    manifest = write_walk_run(
        task.settings.runs_url, task.dataset, metrics=metrics, configuration=task.configuration
    )
    yield Progress("Writing run", 1, 1)
    return manifest
