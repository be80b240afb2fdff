"""`manifest.json`: what a run says of itself."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.fields import Id

MANIFEST = "manifest.json"
VECTORS = "vectors.parquet"
NEIGHBOURS = "neighbours.parquet"
LISTS = "lists.parquet"
GRAPH = "graph/graph.json"
RANKER = "ranker.json"
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
