"""Run files: the standard output of a model, whatever made it.

A run is an immutable folder (any fsspec URL) with `manifest.json` and Parquet files:

| file | columns |
|---|---|
| vectors.parquet | item_id string, vector float[dim], context float[dim]?, version int64? (?: optional) |
| neighbours.parquet | item_id string, neighbour_id string, rank int32, score float |
| lists.parquet | user_id string, item_id string, rank int32, score float |

`vector` is what a search finds, `context` what a reading adds to its reader. `encoder/` may hold
what its kind of model needs to give vectors to new posts, and the manifest may name a `tower`: an ONNX
file that makes of a reader's pooled vector the one that is searched with. The list of the reader `*` is
everybody's. A run of kind `graph` holds the arrays of a walk (`nearfeed_core.pixie`), one of kind `ranker`
a model that scores candidates (`ranker.json` says how).
"""

import hashlib
import posixpath
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nearfeed_contracts.errors import NearfeedError, NotFoundError
from nearfeed_contracts.events import tell_fault
from nearfeed_contracts.fields import Id

MANIFEST = "manifest.json"
VECTORS = "vectors.parquet"
NEIGHBOURS = "neighbours.parquet"
LISTS = "lists.parquet"
GRAPH = "graph/graph.json"
RANKER = "ranker.json"
_CHUNK = 1 << 20

RunKind = Literal["vectors", "neighbours", "lists", "graph", "ranker"]
MAIN_FILES: dict[RunKind, str] = {
    "vectors": VECTORS,
    "neighbours": NEIGHBOURS,
    "lists": LISTS,
    "graph": GRAPH,
    "ranker": RANKER,
}
COLUMNS = {
    VECTORS: ("item_id", "vector"),
    NEIGHBOURS: ("item_id", "neighbour_id", "rank", "score"),
    LISTS: ("user_id", "item_id", "rank", "score"),
}


class BrokenRunError(NearfeedError):
    """A run folder that is not what its manifest says; the text names the file."""


class Block(BaseModel):
    """How one slice of the contexts becomes a slice of the reader's vector (`nearfeed_core.pooling`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: int = Field(ge=0)
    dim: int = Field(ge=1)
    pooling: Literal["mean", "sum", "ridge"] = "mean"
    scale: float = Field(default=1.0, allow_inf_nan=False)
    normalize: bool = False


class DataWindow(BaseModel):
    """The readings that a run has seen."""

    model_config = ConfigDict(frozen=True)

    first: datetime | None = None
    last: datetime | None = None
    readers: int = 0
    items: int = 0
    readings: int = 0


class Manifest(BaseModel):
    """`manifest.json`. `checksums` has the SHA-256 of every other file of the run by its path in it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = 1
    space: Id
    kind: RunKind = "vectors"
    model: str
    dim: int = Field(default=0, ge=0)
    blocks: tuple[Block, ...] = ()
    tower: str | None = None
    created_at: datetime
    data: DataWindow = DataWindow()
    rows: dict[str, int] = {}
    metrics: dict[str, Any] = {}
    checksums: dict[str, str] = {}
    libraries: dict[str, str] = {}
    configuration: dict[str, Any] = {}

    @model_validator(mode="after")
    def _blocks_cover_the_vector(self) -> "Manifest":
        if self.kind != "vectors":
            return self
        end = 0
        for block in self.blocks:
            if block.start != end:
                raise ValueError(f"blocks must follow each other: one starts at {block.start}, not {end}")
            end = block.start + block.dim
        if end != self.dim or not self.dim:
            raise ValueError(f"blocks cover {end} dimensions of {self.dim}")
        return self


@dataclass(frozen=True)
class VectorBatch:
    """Rows of vectors.parquet: ids (n), vectors and contexts (n, dim) float32, versions (n) or None."""

    item_ids: list[str]
    vectors: NDArray[np.float32]
    contexts: NDArray[np.float32]
    versions: NDArray[np.int64] | None


class Run:
    """A run folder that stands whole. `open_run` checks it; nothing here writes."""

    def __init__(self, url: str, manifest: Manifest) -> None:
        self.url = url
        self.manifest = manifest
        self._fs, self._root = url_to_fs(url)

    def has_file(self, name: str) -> bool:
        return name in self.manifest.checksums

    def path(self, name: str) -> str:
        """The file's path on the run's file system."""
        return posixpath.join(self._root, name)

    def read_bytes(self, name: str) -> bytes:
        return bytes(self._fs.cat_file(self.path(name)))

    def vector_batches(self, rows: int = 2_000) -> Iterator[VectorBatch]:
        """vectors.parquet in batches. Raises BrokenRunError on NaN, wrong lengths or a cut file."""
        with self._open_vectors() as parquet:
            for batch in parquet.iter_batches(batch_size=rows):
                yield _vector_batch(batch, self.manifest.dim)

    def count_vectors(self) -> int:
        """The rows of vectors.parquet. Raises BrokenRunError on a cut file."""
        with self._open_vectors() as parquet:
            return int(parquet.metadata.num_rows)

    @contextmanager
    def _open_vectors(self) -> Iterator[pq.ParquetFile]:
        try:
            with self._fs.open(self.path(VECTORS), "rb") as file:
                yield pq.ParquetFile(file)
        except (pa.ArrowException, OSError) as error:
            cause = str(error).rstrip(". \n")
            raise BrokenRunError(f"{self.path(VECTORS)} cannot be read as Parquet: {cause}.") from None


def open_run(url: str, *, verify: bool = True) -> Run:
    """Opens a run and, unless told otherwise, checks every file against its checksum.

    Raises NotFoundError (no manifest) and BrokenRunError (the file and what is wrong with it).
    """
    fs, root = url_to_fs(url)
    path = posixpath.join(root, MANIFEST)
    if not fs.exists(path):
        raise NotFoundError(f"{url} is no run folder: {MANIFEST} is missing in it.")
    try:
        manifest = Manifest.model_validate_json(fs.cat_file(path))
    except ValidationError as error:
        raise BrokenRunError(f"{path} is no manifest: {tell_fault(error, whole='')}.") from None
    run = Run(url, manifest)
    main_file = MAIN_FILES[manifest.kind]
    if not run.has_file(main_file):
        raise BrokenRunError(
            f"{path} names no checksum for {main_file}, which a run of kind {manifest.kind} must have."
        )
    if verify:
        for name, expected in manifest.checksums.items():
            _verify(fs, run.path(name), expected)
    return run


def checksum(fs: Any, path: str) -> str:
    """SHA-256 of a file on an fsspec file system, in hex."""
    digest = hashlib.sha256()
    with fs.open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_manifest(url: str, manifest: Manifest) -> Manifest:
    """Ends the writing of a run: adds checksums of all its files, then puts the manifest in place.

    A folder without a manifest is no run, so a writer that dies before this leaves nothing to load.
    """
    fs, root = url_to_fs(url)
    names = sorted(posixpath.relpath(path, root) for path in fs.find(root))
    sums = {name: checksum(fs, posixpath.join(root, name)) for name in names if name != MANIFEST}
    sealed = manifest.model_copy(update={"checksums": sums})
    Manifest.model_validate(sealed.model_dump())
    fs.pipe_file(posixpath.join(root, MANIFEST), sealed.model_dump_json(indent=2).encode())
    return sealed


def write_vectors(
    url: str,
    item_ids: list[str],
    vectors: NDArray[np.float32],
    *,
    contexts: NDArray[np.float32] | None = None,
    versions: Iterable[int] | None = None,
) -> None:
    """Writes vectors.parquet; vectors and contexts are (n, dim) float32."""
    columns: dict[str, pa.Array] = {
        "item_id": pa.array(item_ids, pa.string()),
        "vector": _fixed_list(vectors),
    }
    if contexts is not None:
        columns["context"] = _fixed_list(contexts)
    if versions is not None:
        columns["version"] = pa.array(list(versions), pa.int64())
    fs, root = url_to_fs(url)
    fs.makedirs(root, exist_ok=True)
    with fs.open(posixpath.join(root, VECTORS), "wb") as file:
        pq.write_table(pa.table(columns), file, compression="zstd")


def list_runs(runs_url: str) -> list[Run]:
    """All runs of a store, oldest first, unverified."""
    fs, root = url_to_fs(runs_url)
    manifests = [path for path in fs.glob(posixpath.join(root, "*", MANIFEST))] if fs.exists(root) else []
    runs = [open_run(fs.unstrip_protocol(posixpath.dirname(path)), verify=False) for path in manifests]
    return sorted(runs, key=lambda run: run.manifest.created_at)


def run_url(runs_url: str, space: str) -> str:
    """The URL of a space's run folder."""
    return f"{runs_url.rstrip('/')}/{space}"


def _verify(fs: Any, path: str, expected: str) -> None:
    if not fs.exists(path):
        raise BrokenRunError(f"{path} is missing, though the run's manifest lists it.")
    if checksum(fs, path) != expected:
        raise BrokenRunError(
            f"{path} does not have the checksum that the run's manifest states; copy the run again."
        )


def _fixed_list(matrix: NDArray[np.float32]) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(matrix, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


def _vector_batch(batch: pa.RecordBatch, dim: int) -> VectorBatch:
    missing = [name for name in COLUMNS[VECTORS] if name not in batch.schema.names]
    if missing:
        raise BrokenRunError(f"{VECTORS} lacks the column {missing[0]}.")
    ids = _column(batch, "item_id", pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    vectors = _matrix(batch, "vector", dim)
    contexts = _matrix(batch, "context", dim) if "context" in batch.schema.names else vectors
    versions = None
    if "version" in batch.schema.names:
        versions = _column(batch, "version", pa.types.is_integer).to_numpy(zero_copy_only=False)
    return VectorBatch(ids.to_pylist(), vectors, contexts, versions)


def _column(batch: pa.RecordBatch, name: str, *types: Callable[[pa.DataType], bool]) -> pa.Array:
    column = batch[name]
    if not any(fits(column.type) for fits in types):
        raise BrokenRunError(f"{VECTORS}: column {name} cannot be of type {column.type}.")
    if column.null_count:
        raise BrokenRunError(f"{VECTORS}: column {name} holds a null.")
    return column


def _is_vector(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(fits(kind) for fits in lists) and pa.types.is_floating(kind.value_type)


def _matrix(batch: pa.RecordBatch, name: str, dim: int) -> NDArray[np.float32]:
    column = _column(batch, name, _is_vector)
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    if not pc.all(pc.equal(pc.list_value_length(column), dim)).as_py():
        raise BrokenRunError(f"{VECTORS}: column {name} holds vectors that have not {dim} dimensions.")
    if not np.isfinite(flat).all():
        row = int(np.flatnonzero(~np.isfinite(flat))[0]) // dim
        raise BrokenRunError(f"{VECTORS}: {name} of item {batch['item_id'][row]} holds NaN or infinity.")
    return np.asarray(flat.reshape(len(column), dim), dtype=np.float32)
