"""Readings that are split by posts: some posts are hidden from training, as if they were new."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfeed_core.splits import HeldOut
from nearfeed_embedder.dataset import Dataset, Readings, Rows
from nearfeed_embedder.evaluation.by_time import history_of, places_of
from nearfeed_embedder.evaluation.split import Split, matrix_of

SHARE = 0.1
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Hidden:
    """`posts` (items) nobody's reading of which is learned from, and what is: `train` (readings)."""

    posts: Mask
    train: Mask


def hide_posts(readings: Readings, n_posts: int, *, seed: int, share: float = SHARE) -> Hidden:
    """Hides a random `share` of the posts that have readings, and the same share of other readings.

    One reading of every post that is not hidden stays, so that the hidden posts alone are new.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(readings))
    read, one_of_each = np.unique(readings.item[order], return_index=True)
    posts = np.zeros(n_posts, np.bool_)
    posts[rng.choice(read, round(share * len(read)), replace=False)] = True
    train = rng.random(len(readings)) >= share
    train[order[one_of_each]] = True
    return Hidden(posts, train & ~posts[readings.item])


def split_hidden(dataset: Dataset, hidden: Hidden) -> Split:
    """Readers are described by what is learned from, and are to find the rest of what they read.

    As served: by their newest 512 readings with weights that decay. All posts that have readings are
    ranked, less what describes the reader; the hidden ones are the split's `new_items`.
    """
    readings = dataset.readings
    cases = [case for rows in readings.rows_by_reader() if (case := _case(readings, rows, hidden.train))]
    shape = (int(readings.reader.max(initial=-1)) + 1, len(dataset.posts))
    learned = readings.take(hidden.train)
    candidates = np.zeros(len(dataset.posts), np.bool_)
    candidates[readings.item] = True
    return Split(
        item_ids=[post.item_id for post in dataset.posts],
        train=matrix_of(learned.reader, learned.item, shape),
        history=history_of(readings, cases, shape, dataset.half_life_days),
        masked=matrix_of(*places_of(readings, [case.past for case in cases]), shape),
        targets=matrix_of(*places_of(readings, [case.targets for case in cases]), shape),
        candidates=candidates,
        told=_sentences(readings, hidden, candidates, len(cases)),
        texts=[post.text for post in dataset.posts],
        reader_ids=dataset.reader_ids,
    )


def _case(readings: Readings, rows: Rows, train: Mask) -> HeldOut | None:
    past, targets = rows[train[rows]], rows[~train[rows]]
    if not len(past) or not len(targets):
        return None
    return HeldOut(int(readings.reader[rows[0]]), past, targets)


def _sentences(readings: Readings, hidden: Hidden, candidates: Mask, readers: int) -> tuple[str, ...]:
    return (
        f"{hidden.posts.sum()} of {candidates.sum()} posts are hidden with all of their readings.",
        f"Of the others' readings {hidden.train.sum()} are learned from; {readers} readers are described by "
        f"these, and scored on the other {len(readings) - hidden.train.sum()} readings.",
    )
