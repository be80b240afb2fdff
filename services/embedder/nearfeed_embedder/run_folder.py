"""The folder of a new run: its name, and what its manifest says of the data. One that fails leaves none."""

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from fsspec.core import url_to_fs

from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.runs import DataWindow, Manifest, run_url, write_manifest
from nearfeed_embedder.dataset import Dataset


class UnknownRecipeError(ConflictError):
    """A run whose manifest does not say how it was trained in a way that this version knows."""


@dataclass(frozen=True)
class NewRun:
    """A folder that is being written, without a manifest yet."""

    space: str
    url: str
    model: str
    created_at: datetime

    def seal(self, dataset: Dataset, libraries: Sequence[str], **fields: Any) -> Manifest:
        """Writes the manifest, which has the versions of `libraries`; `fields` are the others of it."""
        manifest = Manifest(
            space=self.space,
            model=self.model,
            created_at=self.created_at,
            data=_window(dataset),
            libraries=_versions(["nearfeed", *libraries]),
            **fields,
        )
        return write_manifest(self.url, manifest)


@contextmanager
def new_run(runs_url: str, model: str) -> Iterator[NewRun]:
    """A run under a name that none has; where the writing of it fails, no folder is left."""
    now = datetime.now(UTC)
    space = _free_name(runs_url, model, now)
    run = NewRun(space, run_url(runs_url, space), model, now)
    fs, root = url_to_fs(run.url)
    try:
        yield run
    except BaseException:
        if fs.exists(root):
            fs.rm(root, recursive=True)
        raise


def _free_name(runs_url: str, model: str, now: datetime) -> str:
    name = first = f"{model}-{now:%Y%m%d-%H%M%S}"
    fs, root = url_to_fs(runs_url)
    count = 1
    while fs.exists(f"{root}/{name}"):
        count += 1
        name = f"{first}-{count}"
    return name


def _window(dataset: Dataset) -> DataWindow:
    readings = dataset.readings
    return DataWindow(
        first=from_micros(int(readings.time.min())),
        last=from_micros(int(readings.time.max())),
        readers=len(np.unique(readings.reader)),
        items=len(dataset.posts),
        readings=len(readings),
    )


def _versions(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def put_file(url: str, name: str, content: bytes) -> None:
    """Writes one file of a run's folder."""
    fs, root = url_to_fs(url)
    fs.makedirs(root, exist_ok=True)
    fs.pipe_file(posixpath.join(root, name), content)
