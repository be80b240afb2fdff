"""Runs of all kinds that name posts, scored as they are served."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from nearfeed_contracts.errors import NearfeedError, NotFoundError
from nearfeed_contracts.fields import from_micros, to_micros
from nearfeed_contracts.runs import BrokenRunError, RankedBatch, Run, open_run, run_url
from nearfeed_embedder.comparison.models import BASELINES, UnfitModelError, UnknownModelError
from nearfeed_embedder.comparison.towers import tower_of
from nearfeed_embedder.dataset import Rows
from nearfeed_embedder.evaluation.ranked import by_lists, by_neighbours
from nearfeed_embedder.evaluation.split import Scorer, Split
from nearfeed_embedder.evaluation.vectors import by_vectors_of_some

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

EVERYBODY = "*"


class LeakyRunError(NearfeedError):
    """A run that has learned from what it would be asked to find."""


def open_model(runs_url: str, asked: str) -> Run:
    """The run of a name in the store, or of a folder or URL. Raises UnknownModelError, BrokenRunError."""
    try:
        run = open_run(asked if "/" in asked else run_url(runs_url, asked))
    except NotFoundError:
        raise UnknownModelError(
            f"{asked} is neither a run in {runs_url}, nor a run's folder, nor one of the baselines "
            f"{', '.join(BASELINES)}."
        ) from None
    if run.manifest.kind not in ("vectors", "neighbours", "lists"):
        raise UnknownModelError(
            f"{asked} is a run of kind {run.manifest.kind}: vectors, neighbours and lists are evaluated."
        )
    return run


def scorer_of_run(run: Run, split: Split) -> tuple[Scorer, str]:
    """Scores of a run, and what a reader of its figures must know. Posts that it does not have score -inf.

    Raises LeakyRunError where its data go on after the cut, and UnfitModelError for lists of readers whom the
    split does not name.
    """
    _check_not_leaky(run, split)
    scorer, remarks = _SCORERS[run.manifest.kind](run, split)
    if split.cut is None or run.manifest.data.last is None:
        remarks.append("whether it has learned from what is to be found cannot be told.")
    return scorer, " ".join(remarks)


def _check_not_leaky(run: Run, split: Split) -> None:
    last = run.manifest.data.last
    if split.cut is not None and last is not None and to_micros(last) >= split.cut:
        raise LeakyRunError(
            f"Run {run.manifest.space} has learned from readings up to {last:%Y-%m-%d %H:%M} UTC, after "
            "the cut: it has seen what it would be asked to find. Train on what lies before the cut alone: "
            f"nearfeed train --until {from_micros(split.cut).isoformat()}"
        )


def _vectors(run: Run, split: Split) -> tuple[Scorer, list[str]]:
    column = _columns(split)
    vectors = np.zeros((split.n_items, run.manifest.dim), np.float32)
    contexts, there = np.zeros_like(vectors), np.zeros(split.n_items, np.bool_)
    for batch in run.vector_batches():
        places = np.array([column.get(item_id, -1) for item_id in batch.item_ids], np.intp)
        kept = places >= 0
        vectors[places[kept]], contexts[places[kept]] = batch.vectors[kept], batch.contexts[kept]
        there[places[kept]] = True
    tower = tower_of(run) if run.manifest.tower else None
    scorer = by_vectors_of_some(vectors, contexts, run.manifest.blocks, split.history, there, tower=tower)
    return scorer, _lacking(split, there, "have no vector in it")


def _neighbours(run: Run, split: Split) -> tuple[Scorer, list[str]]:
    column = _columns(split)
    owners, items, batches = _places(run.neighbour_batches(), column, column)
    scores = np.concatenate([batch.scores for batch in batches] or [np.empty(0, np.float32)])
    similar = _matrix(run, owners, items, scores, (split.n_items, split.n_items))
    return by_neighbours(similar, split.history), _lacking(
        split, _has_rows(similar), "are in none of its lists"
    )


def _lists(run: Run, split: Split) -> tuple[Scorer, list[str]]:
    """A reader without a list has that of everybody."""
    everybody = len(split.reader_ids)
    row = {**{reader: number for number, reader in enumerate(split.reader_ids)}, EVERYBODY: everybody}
    owners, items, batches = _places(run.list_batches(), row, _columns(split))
    if not split.reader_ids and any(
        owner != EVERYBODY for batch in batches for owner in batch.owners.to_pylist()
    ):
        raise UnfitModelError(f"{run.manifest.space} has lists of readers, and these data do not name any.")
    ranks = np.concatenate([batch.ranks for batch in batches] or [np.empty(0, np.int32)])
    lists = _matrix(run, owners, items, ranks, (everybody + 1, split.n_items))
    has_own = np.diff(lists.indptr)[: split.train.shape[0]] > 0
    list_of = np.full(split.train.shape[0], everybody)
    list_of[np.flatnonzero(has_own)] = np.flatnonzero(has_own)
    named = int(has_own[split.readers].sum()) if everybody else 0
    told = f"{named} of {len(split.readers)} readers have a list of their own."
    return by_lists(lists, list_of), [told, *_lacking(split, _has_rows(lists), "are in none of its lists")]


_SCORERS = {"vectors": _vectors, "neighbours": _neighbours, "lists": _lists}


def _columns(split: Split) -> dict[str, int]:
    return {item_id: number for number, item_id in enumerate(split.item_ids)}


def _places(
    found: Iterable[RankedBatch], row: Mapping[str, int], column: Mapping[str, int]
) -> tuple[Rows, Rows, list[RankedBatch]]:
    """Rows and columns of the entries of batches, -1 for what is not known, and the batches."""
    batches = list(found)
    nothing = np.empty(0, np.intp)
    owners = [_numbers(batch.owners, row) for batch in batches]
    items = [_numbers(batch.item_ids, column) for batch in batches]
    return np.concatenate([*owners, nothing]), np.concatenate([*items, nothing]), batches


def _numbers(ids: pa.Array, number: Mapping[str, int]) -> Rows:
    encoded = ids.cast(pa.string()).dictionary_encode()
    known = np.array([number.get(name, -1) for name in encoded.dictionary.to_pylist()], np.intp)
    return np.asarray(known[encoded.indices.to_numpy()])


def _matrix(
    run: Run, rows: Rows, columns: Rows, values: NDArray[np.generic], shape: tuple[int, int]
) -> "csr_matrix":
    kept = (rows >= 0) & (columns >= 0)
    entries = values[kept].astype(np.float32)
    matrix = sparse.csr_matrix((entries, (rows[kept], columns[kept])), shape=shape)
    if matrix.nnz < len(entries):
        raise BrokenRunError(f"{run.url}: a list holds an item twice; write each once.")
    return matrix


def _has_rows(lists: "csr_matrix") -> NDArray[np.bool_]:
    return np.bincount(lists.indices, minlength=lists.shape[1]) > 0


def _lacking(split: Split, there: NDArray[np.bool_], what: str) -> list[str]:
    lacking = int((split.candidates & ~there).sum())
    return [f"{lacking} posts {what}, and are never shown."] if lacking else []
