"""Reader towers: networks in ONNX that make of a reader's pooled vector the one that is searched with."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.runs import BrokenRunError, Run
from nearfeed_recommender.models.onnx_files import broken_onnx, onnx_session

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Tower:
    """The network of one run; thread-safe."""

    session: Any

    def query(self, pooled: NDArray[np.floating]) -> Vector:
        """Of a reader's pooled vector (dim) the one to search with (dim)."""
        rows = np.asarray(pooled, np.float32)[None]
        return np.asarray(self.session.run(["query"], {"pooled": rows})[0][0], np.float32)


def load_tower(run: Run) -> Tower:
    """Raises BrokenRunError where the run has no tower, or not one from dim to dim."""
    file, dim = run.manifest.tower, run.manifest.dim
    if file is None or not run.has_file(file):
        raise BrokenRunError(f"Run {run.manifest.space} has no tower: its manifest names {file!r}.")
    session = onnx_session(run, file, inputs={"pooled": dim})
    with broken_onnx(run, file):
        query = Tower(session).query(np.zeros(dim, np.float32))
    if query.shape != (dim,) or not np.isfinite(query).all():
        raise BrokenRunError(f"{run.path(file)} must give {dim} finite numbers, not the shape {query.shape}.")
    return Tower(session)
