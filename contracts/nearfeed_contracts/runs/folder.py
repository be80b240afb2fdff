"""The folder of a run: opened, checked and sealed."""

import hashlib
import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from pydantic import ValidationError

from nearfeed_contracts.errors import NearfeedError, NotFoundError
from nearfeed_contracts.events import describe_fault
from nearfeed_contracts.runs.manifest import (
    LISTS,
    MAIN_FILES,
    MANIFEST,
    NEIGHBOURS,
    VECTORS,
    BrokenRunError,
    Manifest,
)
from nearfeed_contracts.runs.ranked import RankedBatch, ranked_batch
from nearfeed_contracts.runs.vectors import VectorBatch, vector_batch

_CHUNK = 1 << 20


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
        for batch in self._batches(VECTORS, rows):
            yield vector_batch(batch, self.manifest.dim)

    def neighbour_batches(self, rows: int = 100_000) -> Iterator[RankedBatch]:
        """neighbours.parquet in batches. Raises BrokenRunError on NaN, a rank below 1 or a cut file."""
        for batch in self._batches(NEIGHBOURS, rows):
            yield ranked_batch(NEIGHBOURS, batch)

    def list_batches(self, rows: int = 100_000) -> Iterator[RankedBatch]:
        """lists.parquet in batches. Raises BrokenRunError on NaN, a rank below 1 or a cut file."""
        for batch in self._batches(LISTS, rows):
            yield ranked_batch(LISTS, batch)

    def column_batches(self, name: str, column: str, rows: int = 100_000) -> Iterator[pa.Array]:
        """One column of a Parquet file of the run; nothing where it lacks that. Raises BrokenRunError."""
        with self._open_parquet(name) as parquet:
            if column in parquet.schema_arrow.names:
                for batch in parquet.iter_batches(batch_size=rows, columns=[column]):
                    yield batch.column(0)

    def count_vectors(self) -> int:
        """The rows of vectors.parquet. Raises BrokenRunError on a cut file."""
        with self._open_parquet(VECTORS) as parquet:
            return int(parquet.metadata.num_rows)

    def _batches(self, name: str, rows: int) -> Iterator[pa.RecordBatch]:
        with self._open_parquet(name) as parquet:
            yield from parquet.iter_batches(batch_size=rows)

    @contextmanager
    def _open_parquet(self, name: str) -> Iterator[pq.ParquetFile]:
        try:
            with self._fs.open(self.path(name), "rb") as file:
                yield pq.ParquetFile(file)
        except (pa.ArrowException, OSError) as error:
            cause = str(error).rstrip(". \n")
            raise BrokenRunError(f"{self.path(name)} cannot be read as Parquet: {cause}.") from None


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
        raise BrokenRunError(f"{path} is no manifest: {describe_fault(error, whole='')}.") from None
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


def list_runs(runs_url: str, *, on_broken: Callable[[str, NearfeedError], None] | None = None) -> list[Run]:
    """All runs of a store, oldest first, unverified.

    Raises BrokenRunError for one that is not what it should be, unless `on_broken` is told of it instead.
    """
    fs, root = url_to_fs(runs_url)
    manifests = [path for path in fs.glob(posixpath.join(root, "*", MANIFEST))] if fs.exists(root) else []
    runs: list[Run] = []
    for path in manifests:
        url = fs.unstrip_protocol(posixpath.dirname(path))
        try:
            runs.append(open_run(url, verify=False))
        except (BrokenRunError, NotFoundError) as error:
            if on_broken is None:
                raise
            on_broken(url, error)
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
