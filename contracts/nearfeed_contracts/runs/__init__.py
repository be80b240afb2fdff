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

from nearfeed_contracts.runs.folder import (
    Run,
    checksum,
    list_runs,
    open_run,
    run_url,
    write_manifest,
)
from nearfeed_contracts.runs.manifest import (
    COLUMNS,
    GRAPH,
    LISTS,
    MAIN_FILES,
    MANIFEST,
    NEIGHBOURS,
    RANKER,
    VECTORS,
    Block,
    BrokenRunError,
    DataWindow,
    Manifest,
    RunKind,
)
from nearfeed_contracts.runs.ranked import RankedBatch, write_lists, write_neighbours
from nearfeed_contracts.runs.vectors import VectorBatch, write_vectors

__all__ = [
    "COLUMNS",
    "GRAPH",
    "LISTS",
    "MAIN_FILES",
    "MANIFEST",
    "NEIGHBOURS",
    "RANKER",
    "VECTORS",
    "Block",
    "BrokenRunError",
    "DataWindow",
    "Manifest",
    "RankedBatch",
    "Run",
    "RunKind",
    "VectorBatch",
    "checksum",
    "list_runs",
    "open_run",
    "run_url",
    "write_lists",
    "write_manifest",
    "write_neighbours",
    "write_vectors",
]
