"""Random walks on who read what: a run's graph, kept up to date by what is read since.

numba, which takes a second to import, is imported when a graph is loaded.
"""

import posixpath
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from sqlalchemy import Engine, select

from nearfeed_contracts.fields import now_micros, to_micros
from nearfeed_contracts.runs import GRAPH, Run
from nearfeed_contracts.tables import interactions
from nearfeed_runtime.sql import read_connection

if TYPE_CHECKING:
    from nearfeed_recommender.models.walk_graph import WalkGraph

_SECOND = 1_000_000
OVERLAP_SECONDS = 10.0
LONG_OVERLAP_SECONDS = 600.0
_POLLS_PER_LONG_OVERLAP = 60
_BATCH = 20_000


def load_graph(run: Run) -> "WalkGraph":
    """Maps the files of a run of kind `graph` into memory; those of another machine are copied first.

    The copies take no name in the file system, and go with the process. Raises BrokenRunError.
    """
    from nearfeed_core.pixie.files import load
    from nearfeed_recommender.models.walk_graph import WalkGraph

    def graph_of(folder: Path) -> WalkGraph:
        return WalkGraph(load(folder), data_last=run.manifest.data.last)

    fs, root = url_to_fs(run.url)
    folder = posixpath.join(root, posixpath.dirname(GRAPH))
    if isinstance(fs, LocalFileSystem):
        return graph_of(Path(folder))
    with tempfile.TemporaryDirectory(prefix="nearfeed-graph-") as copy:
        for path in fs.ls(folder, detail=False):
            fs.get_file(path, str(Path(copy, posixpath.basename(path))))
        return graph_of(Path(copy))


def follow(engine: Engine, graph: "WalkGraph") -> Callable[[], int]:
    """A function that adds what was read since its last call, and returns how many edges were new.

    It begins with the newest reading of the run. Readings come to SQL a little late and out of order:
    it looks back 10 seconds, and once in 60 calls 10 minutes; older ones wait for the next run. It
    is to be called by one thread, in which it now and then merges the added edges into the graph.
    """
    newest = to_micros(graph.data_last) if graph.data_last else 0
    calls = 0

    def poll() -> int:
        nonlocal newest, calls
        overlap = OVERLAP_SECONDS if calls % _POLLS_PER_LONG_OVERLAP else LONG_OVERLAP_SECONDS
        added, last = _add_since(engine, graph, newest - round(overlap * _SECOND))
        newest = max(newest, min(last, now_micros()))
        calls += 1
        graph.compact_if_due()
        return added

    return poll


def _add_since(engine: Engine, graph: "WalkGraph", since: int) -> tuple[int, int]:
    """How many edges were new, and the time of the newest reading, 0 where there is none."""
    columns = interactions.c
    statement = (
        select(columns.user_id, columns.item_id, columns.newest_at)
        .where(columns.newest_at >= since)
        .order_by(columns.newest_at)
    )
    added = last = 0
    with read_connection(engine) as connection:
        for batch in connection.execution_options(yield_per=_BATCH).execute(statement).partitions():
            added += graph.add([(row.user_id, row.item_id) for row in batch])
            last = batch[-1].newest_at
    return added, last
