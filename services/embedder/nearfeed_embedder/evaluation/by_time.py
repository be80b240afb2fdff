"""Readings that are split by one cut in time, as every run is evaluated."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nearfeed_contracts.fields import from_micros
from nearfeed_core.splits import HeldOut, TimeSplit
from nearfeed_embedder.dataset import Dataset, Readings, Rows, profile
from nearfeed_embedder.evaluation.split import Split, matrix_of

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def split_dataset(dataset: Dataset, by_time: TimeSplit) -> Split:
    """Readers are described by their newest 512 readings with the weights that are served."""
    readings = dataset.readings
    n_readers = int(readings.reader.max(initial=-1)) + 1
    shape = (n_readers, len(dataset.posts))
    before = readings.take(by_time.train)
    order = np.lexsort((before.item, before.reader))
    before = before.take(order)
    return Split(
        item_ids=[post.item_id for post in dataset.posts],
        train=matrix_of(before.reader, before.item, shape),
        history=history_of(readings, by_time.held_out, shape, dataset.half_life_days),
        masked=matrix_of(*places_of(readings, [case.past for case in by_time.held_out]), shape),
        targets=matrix_of(*places_of(readings, [case.targets for case in by_time.held_out]), shape),
        candidates=by_time.known,
        told=_sentences(readings, by_time),
        times=before.time,
        cut=by_time.cut,
        texts=[post.text for post in dataset.posts],
        reader_ids=dataset.reader_ids,
    )


def read_matrix(dataset: Dataset) -> "csr_matrix":
    """1 for every reading (readers, items)."""
    readings = dataset.readings
    shape = (int(readings.reader.max(initial=-1)) + 1, len(dataset.posts))
    return matrix_of(readings.reader, readings.item, shape)


def history_of(
    readings: Readings, held_out: Sequence[HeldOut], shape: tuple[int, int], half_life: float
) -> "csr_matrix":
    """The profiles that readers are described by, as weights (readers, items)."""
    profiles = [profile(readings, case.past, half_life) for case in held_out]
    rows = np.repeat([case.reader for case in held_out], [len(items) for items, _ in profiles])
    columns = np.concatenate([items for items, _ in profiles] or [np.empty(0, np.intp)])
    weights = np.concatenate([weights for _, weights in profiles] or [np.empty(0)])
    return matrix_of(rows.astype(np.intp), columns, shape, weights)


def places_of(readings: Readings, rows: Sequence[Rows]) -> tuple[Rows, Rows]:
    """Readers and items of rows of the readings, one after the other."""
    taken = np.concatenate([*rows, np.empty(0, np.intp)]).astype(np.intp)
    return readings.reader[taken], readings.item[taken]


def _sentences(readings: Readings, by_time: TimeSplit) -> tuple[str, ...]:
    share = by_time.train.mean() if len(readings) else 0.0
    ranked = int(by_time.known.sum())
    return (
        f"Split by time at {from_micros(by_time.cut).isoformat()}: {by_time.train.sum()} readings "
        f"({share:.0%}) lie before it.",
        f"{len(by_time.held_out)} readers are described by what they read before the cut and the first half "
        "of what they read after it, and scored on the second half.",
        f"Masked: what a reader is described by. All other of {ranked} posts are ranked, "
        + ("new ones too." if by_time.with_new else "which are those that were read before the cut."),
    )
