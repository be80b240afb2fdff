"""Finds a run by what the operator typed, and reads it to the end before anything is written."""

import posixpath
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fsspec.core import url_to_fs
from numpy.typing import NDArray

from nearfeed_contracts.errors import NearfeedError, NotFoundError
from nearfeed_contracts.runs import MANIFEST, BrokenRunError, Run, list_runs, open_run, run_url
from nearfeed_runtime.operations import Progress, Step

QUERIES = 50
LATEST = "latest"
_SEED = 7


class UnfitRunError(NearfeedError):
    """A run that stands whole but cannot be searched."""


@dataclass(frozen=True)
class CheckedRun:
    """A run whose rows have all been read; `queries` are up to 50 of its vectors, (n, dim)."""

    run: Run
    item_ids: list[str]
    queries: NDArray[np.float32]

    @property
    def space(self) -> str:
        return self.run.manifest.space


def find_run(name: str, runs_url: str) -> Run:
    """Opens a run by URL, path or space name; `latest` is the newest of `runs_url`.

    Raises NotFoundError, BrokenRunError or UnfitRunError.
    """
    url = _newest(runs_url) if name == LATEST else _locate(name, runs_url)
    fs, root = _open_folder(url)
    if not fs.exists(posixpath.join(root, MANIFEST)):
        known = ", ".join(_known_runs(runs_url)) or "none yet"
        raise NotFoundError(f"There is no run at {url}: it lacks {MANIFEST}. Runs of {runs_url}: {known}.")
    run = open_run(url)
    if run.manifest.kind != "vectors":
        raise UnfitRunError(f"{url} is a run of kind {run.manifest.kind}; only runs of vectors are loaded.")
    return run


def _newest(runs_url: str) -> str:
    runs = [run for run in list_runs(runs_url) if run.manifest.kind == "vectors"]
    if not runs:
        raise NotFoundError(f"There is no run of vectors in {runs_url} yet; make one with `train`.")
    return runs[-1].url


def check_run(run: Run) -> Generator[Step, None, CheckedRun]:
    """Reads every row once. Raises BrokenRunError."""
    rng = np.random.default_rng(_SEED)
    rows: dict[str, None] = {}
    sample = np.empty((0, run.manifest.dim), np.float32)
    lots = np.empty(0)
    total = run.count_vectors()
    for batch in run.vector_batches():
        before = len(rows)
        rows.update(dict.fromkeys(batch.item_ids))
        if len(rows) != before + len(batch.item_ids):
            raise BrokenRunError(f"{run.url}: vectors.parquet holds an item twice; write each item once.")
        sample = np.concatenate([sample, batch.vectors])
        lots = np.concatenate([lots, rng.random(len(batch.vectors))])
        drawn = np.argsort(lots)[:QUERIES]
        sample, lots = sample[drawn], lots[drawn]
        yield Progress("Rows checked", len(rows), total)
    if not rows:
        raise BrokenRunError(f"{run.url}: vectors.parquet holds no rows.")
    return CheckedRun(run, list(rows), sample)


def _locate(name: str, runs_url: str) -> str:
    if "://" in name:
        return name.rstrip("/")
    if "/" in name or Path(name, MANIFEST).is_file():
        return Path(name).absolute().as_uri()
    return run_url(runs_url, name)


def _open_folder(url: str) -> tuple[Any, str]:
    try:
        fs, root = url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise UnfitRunError(f"{url} cannot be opened: {error}; name a folder or another URL.") from None
    return fs, str(root)


def _known_runs(runs_url: str) -> list[str]:
    fs, root = _open_folder(runs_url)
    found = fs.glob(posixpath.join(root, "*", MANIFEST)) if fs.exists(root) else []
    return sorted(posixpath.basename(posixpath.dirname(path)) for path in found)
