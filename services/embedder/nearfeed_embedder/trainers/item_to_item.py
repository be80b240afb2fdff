"""Item-to-item lists: what each post is closest to, for readers and for pages of a post."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from nearfeed_contracts.runs import RankedBatch, write_neighbours
from nearfeed_embedder.baselines.ease import ease_weights
from nearfeed_embedder.baselines.item_knn import SHRINKAGE, item_similarities
from nearfeed_embedder.comparison.quality_gate import check_quality, metrics_of_the_past
from nearfeed_embedder.evaluation.by_time import read_matrix
from nearfeed_embedder.evaluation.ranked import by_neighbours
from nearfeed_embedder.evaluation.split import Scorer, Split, column_counts
from nearfeed_embedder.run_folder import new_run
from nearfeed_embedder.stages import Stage
from nearfeed_embedder.trainers.task import Task, Training
from nearfeed_runtime.operations import Progress

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NEIGHBOURS = 100
OWN = 20
_MOST = 3
_ROWS_AT_ONCE = 1_000
Similar = Callable[["csr_matrix"], "csr_matrix"]
Count = Annotated[int, Field(ge=1, le=10_000)]


def train_item_knn(
    task: Task, *, neighbours: Count = NEIGHBOURS, shrinkage: Annotated[float, Field(ge=0)] = SHRINKAGE
) -> Training:
    """By the shrunk cosine of two posts' readers (Sarwar et al., WWW 2001). Raises RefusedModelError."""
    return _train("item-knn", task, lambda read: knn_lists(read, neighbours, shrinkage))


def train_ease(
    task: Task, *, neighbours: Count = NEIGHBOURS, ridge: Annotated[float, Field(gt=0)] = 500.0
) -> Training:
    """By the weights of EASE (Steck, WWW 2019). Raises RefusedModelError and TooManyItemsError."""
    return _train("ease", task, lambda read: ease_lists(read, neighbours, ridge))


def knn_lists(read: "csr_matrix", neighbours: int = NEIGHBOURS, shrinkage: float = SHRINKAGE) -> "csr_matrix":
    """Lists (items, items) by a cosine, of which rows and columns are alike."""
    nearest = best_of_rows(item_similarities(read, neighbours, shrinkage), neighbours)
    return lists_of(nearest, nearest.T.tocsr(), neighbours)


def ease_lists(read: "csr_matrix", neighbours: int = NEIGHBOURS, ridge: float = 500.0) -> "csr_matrix":
    """Lists (items, items) by what a reading of one post says of another; of posts that were read."""
    known = np.flatnonzero(column_counts(read))
    weights = ease_weights(read[:, known], ridge)
    lists = lists_of(_best_of(weights, OWN), _best_of(weights.T, neighbours).T.tocsr(), neighbours).tocoo()
    shape = (read.shape[1],) * 2
    return sparse.csr_matrix((lists.data, (known[lists.row], known[lists.col])), shape=shape)


def lists_of(nearest: "csr_matrix", towards: "csr_matrix", neighbours: int) -> "csr_matrix":
    """A post's list: the 20 nearest to it, and the posts to which it is near itself.

    Row i of `nearest` (items, items) has what is nearest to i, row i of `towards` what i is among the
    nearest of. By the latter every post is scored for a reader by its own nearest posts, as in item-kNN,
    however many are near to a post that all have read; the former let no list be empty.
    """
    return best_of_rows(towards, _MOST * neighbours).maximum(best_of_rows(nearest, OWN)).tocsr()


def _best_of(weights: NDArray[np.float32], most: int) -> "csr_matrix":
    """`best_of_rows` of a dense matrix."""
    parts = [
        best_of_rows(sparse.csr_matrix(weights[start : start + _ROWS_AT_ONCE]), most)
        for start in range(0, len(weights), _ROWS_AT_ONCE)
    ]
    return sparse.vstack(parts, format="csr")


def best_of_rows(similar: "csr_matrix", most: int) -> "csr_matrix":
    """The `most` highest entries above 0 of each row, ties by column."""
    rows = np.repeat(np.arange(similar.shape[0]), np.diff(similar.indptr))
    order = np.lexsort((similar.indices, -similar.data, rows))
    rank = np.arange(len(order)) - similar.indptr[rows[order]]
    kept = order[(rank < most) & (similar.data[order] > 0)]
    return sparse.csr_matrix((similar.data[kept], (rows[kept], similar.indices[kept])), shape=similar.shape)


def batches_of(similar: "csr_matrix", item_ids: Sequence[str]) -> Iterator[RankedBatch]:
    """The rows of `similar` (items, items) as lists, best first, ties by column."""
    ids = pa.array(item_ids, pa.string())
    for start in range(0, similar.shape[0], _ROWS_AT_ONCE):
        part = similar[start : start + _ROWS_AT_ONCE]
        rows = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
        order = np.lexsort((part.indices, -part.data, rows))
        rank = np.arange(1, len(order) + 1) - part.indptr[rows]
        yield RankedBatch(
            ids.take(pa.array(start + rows)),
            ids.take(pa.array(part.indices[order])),
            rank.astype(np.int32),
            part.data[order].astype(np.float32),
        )


def _train(model: str, task: Task, similar: Similar) -> Training:
    def scorer_of(split: Split) -> Stage[Scorer]:
        yield Progress("Training (evaluation)", 0, 1)
        lists = similar(split.train)
        yield Progress("Training (evaluation)", 1, 1)
        return by_neighbours(lists, split.history)

    metrics = yield from metrics_of_the_past(model, task.dataset, scorer_of)
    check_quality(model, metrics, force=task.force)
    yield Progress("Training (all)", 0, 1)
    lists = similar(read_matrix(task.dataset))
    yield Progress("Training (all)", 1, 1)
    yield Progress("Writing run", 0, 1)
    with new_run(task.settings.runs_url, model) as run:
        rows = write_neighbours(run.url, batches_of(lists, [post.item_id for post in task.dataset.posts]))
        manifest = run.seal(
            task.dataset,
            ["numpy", "scipy"],
            kind="neighbours",
            rows={"neighbours": rows},
            metrics=metrics,
            configuration=dict(task.configuration),
        )
    yield Progress("Writing run", 1, 1)
    return manifest
