"""The files of a graph: `graph.json`, and arrays of NumPy's format beside it that are mapped into memory.

| file | array |
|---|---|
| post_starts.npy, post_readers.npy | uint32 (posts + 1), (edges): the readers of each post |
| reader_starts.npy, reader_posts.npy | uint32 (readers + 1), (edges): the posts of each reader |
| post_ids.npy, post_id_starts.npy | uint8, int64 (posts + 1): the ids of posts, in UTF-8 |
| post_hashes.npy, post_numbers.npy | uint64, uint32 (posts): hashes of ids in rising order, and whose |
| reader_hashes.npy, reader_numbers.npy | the same of readers |
"""

import json
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from fsspec.core import url_to_fs
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nearfeed_contracts.events import describe_fault
from nearfeed_contracts.runs import BrokenRunError
from nearfeed_core.pixie.building import Stored
from nearfeed_core.pixie.csr import side
from nearfeed_core.pixie.ids import Index, Names

HEAD = "graph.json"
_DTYPES = {
    "post_starts": "<u4",
    "post_readers": "<u4",
    "reader_starts": "<u4",
    "reader_posts": "<u4",
    "post_ids": "|u1",
    "post_id_starts": "<i8",
    "post_hashes": "<u8",
    "post_numbers": "<u4",
    "reader_hashes": "<u8",
    "reader_numbers": "<u4",
}
Arrays = Mapping[str, NDArray[Any]]


class Head(BaseModel):
    """`graph.json`: the format, and how much there is."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    posts: int = Field(ge=0, lt=2**32)
    readers: int = Field(ge=0, lt=2**32)
    edges: int = Field(ge=0, lt=2**32)


def save(graph: Stored, url: str) -> Head:
    """Writes a folder (any fsspec URL)."""
    head = Head(posts=graph.forth.nodes, readers=graph.back.nodes, edges=len(graph.forth.targets))
    fs, root = url_to_fs(url)
    fs.makedirs(root, exist_ok=True)
    for name, array in _arrays_of(graph).items():
        with fs.open(posixpath.join(root, f"{name}.npy"), "wb") as file:
            np.save(file, array.astype(_DTYPES[name], copy=False), allow_pickle=False)
    fs.pipe_file(posixpath.join(root, HEAD), json.dumps(head.model_dump()).encode())
    return head


def load(folder: Path) -> Stored:
    """Maps a folder into memory. The edges are read once, so that they are there when the first walk comes.

    Raises BrokenRunError with the file and what is wrong with it.
    """
    head = _head(folder / HEAD)
    arrays = {name: _mapped(folder / f"{name}.npy", dtype) for name, dtype in _DTYPES.items()}
    for name, length in _lengths(head).items():
        if len(arrays[name]) != length:
            _refuse(folder, name, f"has {len(arrays[name])} entries, and by {HEAD} must have {length}")
    _check_starts(folder, arrays, "post_starts", head.edges)
    _check_starts(folder, arrays, "reader_starts", head.edges)
    _check_starts(folder, arrays, "post_id_starts", len(arrays["post_ids"]))
    for name, nodes in (("post_readers", head.readers), ("reader_posts", head.posts)):
        _check_numbers(folder, arrays, name, nodes)
    for name, nodes in (("post", head.posts), ("reader", head.readers)):
        _check_numbers(folder, arrays, f"{name}_numbers", nodes)
        _check_rising(folder, arrays, f"{name}_hashes")
    return _graph_of(arrays)


def _arrays_of(graph: Stored) -> Arrays:
    return {
        "post_starts": graph.forth.starts,
        "post_readers": graph.forth.targets,
        "reader_starts": graph.back.starts,
        "reader_posts": graph.back.targets,
        "post_ids": graph.names.text,
        "post_id_starts": graph.names.starts,
        "post_hashes": graph.posts.hashes,
        "post_numbers": graph.posts.numbers,
        "reader_hashes": graph.readers.hashes,
        "reader_numbers": graph.readers.numbers,
    }


def _graph_of(arrays: Arrays) -> Stored:
    return Stored(
        side(arrays["post_starts"], arrays["post_readers"]),
        side(arrays["reader_starts"], arrays["reader_posts"]),
        Index(arrays["post_hashes"], arrays["post_numbers"]),
        Index(arrays["reader_hashes"], arrays["reader_numbers"]),
        Names(arrays["post_ids"], arrays["post_id_starts"]),
    )


def _lengths(head: Head) -> dict[str, int]:
    return {
        "post_starts": head.posts + 1,
        "post_readers": head.edges,
        "reader_starts": head.readers + 1,
        "reader_posts": head.edges,
        "post_id_starts": head.posts + 1,
        "post_hashes": head.posts,
        "post_numbers": head.posts,
        "reader_hashes": head.readers,
        "reader_numbers": head.readers,
    }


def _head(path: Path) -> Head:
    try:
        return Head.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BrokenRunError(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        raise BrokenRunError(f"{path} is no head of a graph: {describe_fault(error)}.") from None


def _mapped(path: Path, dtype: str) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BrokenRunError(
            f"{path} cannot be read as an array: {error}; copy the run again, or train anew."
        ) from None
    if array.ndim != 1 or array.dtype != np.dtype(dtype):
        raise BrokenRunError(f"{path} must be a row of {dtype}, not {array.dtype} of shape {array.shape}.")
    return np.asarray(array)


def _check_starts(folder: Path, arrays: Arrays, name: str, end: int) -> None:
    starts = arrays[name]
    if starts[0] != 0 or starts[-1] != end:
        _refuse(folder, name, f"goes from {starts[0]} to {starts[-1]}, and must go from 0 to {end}")
    _check_rising(folder, arrays, name)


def _check_rising(folder: Path, arrays: Arrays, name: str) -> None:
    array = arrays[name]
    falls = np.flatnonzero(array[1:] <= array[:-1])
    if len(falls):
        _refuse(folder, name, f"must rise from entry to entry, and does not after entry {falls[0]}")


def _check_numbers(folder: Path, arrays: Arrays, name: str, nodes: int) -> None:
    highest = int(arrays[name].max(initial=0))
    if len(arrays[name]) and highest >= nodes:
        _refuse(folder, name, f"names node {highest}, and there are {nodes}, counted from 0")


def _refuse(folder: Path, name: str, fault: str) -> None:
    raise BrokenRunError(f"{folder / name}.npy {fault}; copy the run again, or train anew.")
