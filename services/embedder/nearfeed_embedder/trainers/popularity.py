"""What is read most as one list for everybody."""

from typing import Annotated

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from nearfeed_contracts.runs import RankedBatch, write_lists
from nearfeed_embedder.baselines.popularity import popular_counts
from nearfeed_embedder.comparison.quality_gate import metrics_of_the_past
from nearfeed_embedder.dataset import Rows
from nearfeed_embedder.evaluation.ranked import by_lists
from nearfeed_embedder.evaluation.split import Scorer, Split, matrix_of
from nearfeed_embedder.run_folder import new_run
from nearfeed_embedder.stages import Stage
from nearfeed_embedder.trainers.task import Task, Training
from nearfeed_runtime.operations import Progress

MODEL = "popularity"
EVERYBODY = "*"


def train_popularity(
    task: Task,
    *,
    days: Annotated[float, Field(gt=0)] = 30.0,
    length: Annotated[int, Field(ge=1, le=100_000)] = 500,
) -> Training:
    """The posts that most readers have read within `days` before the last reading, then those of all time.

    It is never refused, for it is what others are measured by.
    """

    def scorer_of(split: Split) -> Stage[Scorer]:
        assert split.times is not None
        assert split.cut is not None
        best, _ = _best(split.train.indices, split.times, split.cut, days, split.n_items, length)
        yield Progress("Training (evaluation)", 1, 1)
        shape = (1, split.n_items)
        ranks = matrix_of(np.zeros(len(best), np.intp), best, shape, np.arange(1.0, len(best) + 1))
        return by_lists(ranks, np.zeros(split.train.shape[0], np.intp))

    metrics = yield from metrics_of_the_past(MODEL, task.dataset, scorer_of)
    readings, posts = task.dataset.readings, task.dataset.posts
    end = int(readings.time.max()) + 1
    best, scores = _best(readings.item, readings.time, end, days, len(posts), length)
    yield Progress("Writing run", 0, 1)
    with new_run(task.settings.runs_url, MODEL) as run:
        batch = RankedBatch(
            pa.array([EVERYBODY] * len(best)),
            pa.array([posts[item].item_id for item in best]),
            np.arange(1, len(best) + 1, dtype=np.int32),
            scores,
        )
        manifest = run.seal(
            task.dataset,
            ["numpy"],
            kind="lists",
            rows={"lists": write_lists(run.url, [batch])},
            metrics=metrics,
            configuration=dict(task.configuration),
        )
    yield Progress("Writing run", 1, 1)
    return manifest


def _best(
    items: Rows, times: NDArray[np.int64], end: int, days: float, n_items: int, length: int
) -> tuple[Rows, NDArray[np.float32]]:
    """The first `length` of the posts that somebody has read, ties by post, and their scores."""
    counts = popular_counts(items, times, end, days, n_items)
    order = np.argsort(-counts, kind="stable")[: min(length, int((counts > 0).sum()))]
    return order, counts[order].astype(np.float32)
