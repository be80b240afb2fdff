"""Where a split comes from: given lists, files in the import format, or what Nearfeed holds in SQL."""

from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Engine

from nearfeed_contracts.errors import NearfeedError
from nearfeed_core.readings import WeightRule
from nearfeed_core.splits import LEAST_LATER, TRAIN_SHARE, split_by_time
from nearfeed_embedder.comparison.files import read_files, read_texts
from nearfeed_embedder.comparison.lists import Mask, Part, read_lists
from nearfeed_embedder.dataset import Dataset
from nearfeed_embedder.evaluation.by_time import split_dataset
from nearfeed_embedder.evaluation.split import Split
from nearfeed_embedder.load import read_dataset
from nearfeed_embedder.stages import Stage


class SplitError(NearfeedError):
    """Options that do not go together, or a split that leaves nobody to score."""


@dataclass(frozen=True)
class Source:
    """Paths of files, and how they are split; without paths it is SQL, by time."""

    train: str | None = None
    valid: str | None = None
    test: str | None = None
    on: Part = "test"
    mask: Mask = "train"
    interactions: str | None = None
    items: str | None = None
    share: float = TRAIN_SHARE
    least_later: int = LEAST_LATER
    new_posts: bool = False


def read_split(source: Source, engine: Engine, rule: WeightRule) -> Stage[Split]:
    """Raises SplitError, SplitFileError and DataFileError."""
    _check(source)
    if source.train and source.valid and source.test:
        return _given_lists(source, source.train, source.valid, source.test)
    if source.interactions:
        items = Path(source.items) if source.items else None
        dataset = read_files(Path(source.interactions), items, rule)
    else:
        dataset = yield from read_dataset(engine, rule)
    return _by_time(source, dataset)


def _given_lists(source: Source, train: str, valid: str, test: str) -> Split:
    lists = read_lists(Path(train), Path(valid), Path(test))
    texts = None
    if source.items:
        known = read_texts(Path(source.items))
        texts = [known.get(item_id, "") for item_id in lists.item_ids]
    split = lists.split(source.on, source.mask, texts)
    if not len(split.readers):
        raise SplitError(f"--{source.on} names no item for any reader: there is nothing to find.")
    return split


def _by_time(source: Source, dataset: Dataset) -> Split:
    readings = dataset.readings
    if not len(readings):
        raise SplitError("There are no readings to evaluate on: import interactions first (nearfeed import).")
    by_time = split_by_time(
        readings.reader,
        readings.item,
        readings.time,
        len(dataset.posts),
        share=source.share,
        least_later=source.least_later,
        with_new=source.new_posts,
    )
    if not by_time.held_out:
        raise SplitError(
            f"No reader has {source.least_later} or more readings after the cut at {source.share:.0%}: "
            "lower --least-later or --share."
        )
    split = split_dataset(dataset, by_time)
    return split if any(split.texts or ()) else replace(split, texts=None)


def _check(source: Source) -> None:
    lists = [source.train, source.valid, source.test]
    if any(lists) and not all(lists):
        raise SplitError("--train, --valid and --test belong together: name all three files.")
    if any(lists) and source.interactions:
        raise SplitError(
            "--interactions is split by time, --train, --valid and --test are split: name one of both."
        )
    if source.items and not (any(lists) or source.interactions):
        raise SplitError("--items belongs to --interactions or to --train, --valid and --test.")
    if any(lists) and source.new_posts:
        raise SplitError(
            "--new-posts belongs to a split by time; of given lists all items are ranked anyway."
        )
