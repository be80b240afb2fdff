"""Runs that hold ids of readers, as lists do, or hashes of ids, as graphs do. They end in time."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pyarrow as pa
import structlog
from fsspec.core import url_to_fs
from sqlalchemy import Engine

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.fields import in_utc
from nearfeed_contracts.runs import Run
from nearfeed_contracts.topics import READER_RETENTION
from nearfeed_core.pixie.ids import Hashes, hashes_of
from nearfeed_recommender.config.schema import EVERYBODY
from nearfeed_recommender.config.world import readable_runs
from nearfeed_runtime.auditing import put_audit
from nearfeed_runtime.operations import Said, Step
from nearfeed_runtime.sql import committed

logger = structlog.get_logger(__name__)
USER_ID = "user_id"
HASHES = "graph/reader_hashes.npy"


def holds_reader(run: Run, user_id: str) -> bool:
    """Whether the run has the reader's id, or its hash. Raises BrokenRunError and OSError."""
    if run.has_file(HASHES) and np.isin(hashes_of([user_id]), _hashes(run)).any():
        return True
    return any(user_id in ids.to_pylist() for ids in _ids(run))


def holds_readers(run: Run) -> bool:
    """Whether the run has ids of any readers. Raises BrokenRunError and OSError."""
    if run.has_file(HASHES) and len(_hashes(run)):
        return True
    return any(set(ids.to_pylist()) - {EVERYBODY} for ids in _ids(run))


def ends_at(run: Run) -> datetime:
    """When a run with readers' ids has to be gone."""
    return in_utc(run.manifest.created_at) + READER_RETENTION


def prune_runs(runs_url: str, now: datetime) -> Iterator[str]:
    """Removes the runs with readers' ids whose time is over, also those that are served; yields their names.

    A process that serves one has it in memory until it is started anew; from then on the model is missing
    unless a newer run is there. A run that cannot be read is left, with a warning.
    """
    for run in readable_runs(runs_url):
        if ends_at(run) <= now and _is_of_readers(run):
            fs, root = url_to_fs(run.url)
            fs.rm(root, recursive=True)
            logger.info("run removed, for it held ids of readers", run=run.manifest.space)
            yield run.manifest.space


def prune_and_audit(engine: Engine, runs_url: str, actor: str) -> Iterator[Step]:
    """Prunes as an operation; the audit has a line for each run."""
    removed = 0
    for name in prune_runs(runs_url, datetime.now(UTC)):
        removed += 1
        line = partial(put_audit, actor=actor, action="erasure.prune", target=f"run {name}", detail={})
        committed(engine, line)
        yield Said(f"Removed run {name}: it has held ids of readers for {READER_RETENTION.days} days.")
    if not removed:
        yield Said(f"No run in {runs_url} has held ids of readers for {READER_RETENTION.days} days.")


def _is_of_readers(run: Run) -> bool:
    try:
        return holds_readers(run)
    except (NearfeedError, OSError, ValueError) as error:
        logger.warning("run cannot be read", run=run.url, error=str(error))
        return False


def _hashes(run: Run) -> Hashes:
    return np.asarray(np.load(io.BytesIO(run.read_bytes(HASHES)), allow_pickle=False))


def _ids(run: Run) -> Iterator[pa.Array]:
    for name in sorted(run.manifest.checksums):
        if name.endswith(".parquet"):
            yield from run.column_batches(name, USER_ID)
