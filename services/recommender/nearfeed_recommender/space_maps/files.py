"""The file of a map, beside the runs: ids and places alone, so that it keeps no text of a post."""

import posixpath
from typing import Annotated, Any
from urllib.parse import quote, unquote

import numpy as np
from fsspec.core import url_to_fs
from pydantic import BaseModel, Field

from nearfeed_contracts.errors import NotFoundError
from nearfeed_contracts.fields import Id
from nearfeed_core.projection import Projection

_FOLDER = "maps"
_SUFFIX = ".map.json"
Place = tuple[float, float]


class NoMapError(NotFoundError):
    """A space of which no map was made."""


class SpaceMap(BaseModel):
    """The places of `item_ids` on the plane of `centre` and `axes`; the space had `posts` then."""

    space: Id
    made_at: int
    posts: int
    shares: Place
    centre: list[float]
    axes: Annotated[list[list[float]], Field(min_length=2, max_length=2)]
    item_ids: list[Id]
    places: list[Place]

    @property
    def projection(self) -> Projection:
        return Projection(np.array(self.centre), np.array(self.axes), np.array(self.shares))


def write_map(runs_url: str, made: SpaceMap) -> str:
    """Puts a map in place of the former one; returns where it is."""
    fs, path = _located(runs_url, made.space)
    fs.makedirs(posixpath.dirname(path), exist_ok=True)
    fs.pipe_file(path, made.model_dump_json().encode())
    return str(fs.unstrip_protocol(path))


def read_map(runs_url: str, space: str) -> SpaceMap:
    """Raises NoMapError."""
    fs, path = _located(runs_url, space)
    try:
        return SpaceMap.model_validate_json(fs.cat_file(path))
    except FileNotFoundError:
        raise NoMapError(
            f"No map of space {space} was made yet; make one with `nearfeed map {space}`."
        ) from None


def mapped_spaces(runs_url: str) -> list[str]:
    """The spaces of which there is a map, in order; some may be dropped by now."""
    fs, folder = url_to_fs(posixpath.join(runs_url, _FOLDER))
    fs.invalidate_cache(folder)
    try:
        names = [posixpath.basename(path) for path in fs.ls(folder, detail=False)]
    except FileNotFoundError:
        return []
    return sorted(unquote(name.removesuffix(_SUFFIX)) for name in names if name.endswith(_SUFFIX))


def _located(runs_url: str, space: str) -> tuple[Any, str]:
    fs, root = url_to_fs(runs_url)
    return fs, posixpath.join(root, _FOLDER, f"{quote(space, safe='')}{_SUFFIX}")
