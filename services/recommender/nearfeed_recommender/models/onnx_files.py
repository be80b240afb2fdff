"""ONNX models of runs in onnxruntime, one thread each: rankers and query towers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.runs import BrokenRunError, Run


def onnx_session(run: Run, file: str, *, inputs: Mapping[str, int]) -> Any:
    """A session of a file that takes (n, width) for each input. Raises BrokenRunError."""
    # onnxruntime takes a tenth of a second to import, and only a config that names such a model needs it.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    with broken_onnx(run, file):
        session = onnxruntime.InferenceSession(
            run.read_bytes(file), options, providers=["CPUExecutionProvider"]
        )
    found = {given.name: given.shape[-1] for given in session.get_inputs()}
    if found != dict(inputs):
        raise BrokenRunError(f"{run.path(file)} takes the inputs {found}, not {dict(inputs)}.")
    return session


@contextmanager
def broken_onnx(run: Run, file: str) -> Iterator[None]:
    """Tells what onnxruntime finds wrong with a file as a BrokenRunError."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    faults = (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
        state.RuntimeException,
    )
    try:
        yield
    except faults as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise BrokenRunError(f"{run.path(file)} cannot be run as ONNX: {reason}.") from None


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
