"""Writes a ranker as a run, and any run so that nothing is left where that fails."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import orjson
from fsspec.core import url_to_fs

from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.runs import RANKER, DataWindow, Manifest, run_url, write_manifest
from nearfeed_core.ranking_features import FeatureSpec
from nearfeed_embedder.rankers.examples import Group
from nearfeed_embedder.rankers.fitting import Fitted

_LIBRARIES = ("nearfeed", "numpy", "lightgbm", "torch", "torch-rechub", "onnx", "onnxscript")


@dataclass(frozen=True)
class Place:
    """Where a run is written: its space, and the URL and time that go with it."""

    space: str
    url: str
    created_at: datetime

    def put(self, name: str, content: bytes) -> None:
        fs, root = url_to_fs(self.url)
        fs.makedirs(root, exist_ok=True)
        fs.pipe_file(posixpath.join(root, name), content)


@contextmanager
def new_run(runs_url: str, model: str) -> Iterator[Place]:
    """A folder of a name that no run has, which is removed where the writing of it fails."""
    now = datetime.now(UTC)
    space = first = f"{model}-{now:%Y%m%d-%H%M%S}"
    fs, root = url_to_fs(runs_url)
    count = 1
    while fs.exists(posixpath.join(root, space)):
        count += 1
        space = f"{first}-{count}"
    try:
        yield Place(space, run_url(runs_url, space), now)
    except BaseException:
        if fs.exists(posixpath.join(root, space)):
            fs.rm(posixpath.join(root, space), recursive=True)
        raise


def write_ranker(
    runs_url: str,
    name: str,
    spec: FeatureSpec,
    fitted: Fitted,
    groups: Sequence[Group],
    *,
    metrics: Mapping[str, Any],
    configuration: Mapping[str, Any],
) -> Manifest:
    """Writes `ranker.json` (format, file, features) and the file that it names as a new run."""
    with new_run(runs_url, name) as place:
        place.put(fitted.file, fitted.write())
        told = {"format": fitted.format, "file": fitted.file, "features": spec.to_json()}
        place.put(RANKER, orjson.dumps(told))
        manifest = Manifest(
            space=place.space,
            kind="ranker",
            model=name,
            created_at=place.created_at,
            data=_window(groups),
            rows={"groups": len(groups), "posts": sum(len(group.posts) for group in groups)},
            metrics=dict(metrics),
            libraries={library: version(library) for library in _LIBRARIES},
            configuration=dict(configuration),
        )
        return write_manifest(place.url, manifest)


def _window(groups: Sequence[Group]) -> DataWindow:
    times = [group.reader.served_at for group in groups]
    items = {post.item_id for group in groups for post in group.posts}
    read = sum(int((group.grades > 0).sum()) for group in groups)
    return DataWindow(
        first=from_micros(min(times)), last=from_micros(max(times)), items=len(items), readings=read
    )
