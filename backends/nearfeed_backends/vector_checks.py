"""What every vector store refuses before it writes or searches."""

from collections.abc import Sequence

import numpy as np

from nearfeed_contracts.events import VectorArray
from nearfeed_contracts.vector_store import StoredVector, VectorDimensionError


def check_vectors(vectors: Sequence[StoredVector], dim: int) -> None:
    """Raises VectorDimensionError that names the first item at fault."""
    for stored in vectors:
        check_vector(stored.vector, dim, f"the vector of item {stored.item_id}")


def check_vector(vector: VectorArray, dim: int, name: str = "the vector") -> None:
    """Raises VectorDimensionError unless `vector` is (dim,) and finite as float32."""
    if np.shape(vector) != (dim,):
        raise VectorDimensionError(
            f"{name} has the shape {np.shape(vector)}, but the space has {dim} dimensions"
        )
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.asarray(vector, dtype=np.float32)).all()
    if not finite:
        raise VectorDimensionError(f"{name} holds NaN or infinity")
