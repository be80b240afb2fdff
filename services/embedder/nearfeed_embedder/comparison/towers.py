"""The tower of a run: what makes of pooled vectors those that are searched with."""

import numpy as np

from nearfeed_contracts.runs import BrokenRunError, Run
from nearfeed_embedder.evaluation.vectors import Querying, Vectors


def tower_of(run: Run) -> Querying:
    """Of the ONNX file that the manifest names, from `pooled` to `query` (readers, dim).

    Raises BrokenRunError.
    """
    # onnxruntime is not imported for models without a tower.
    import onnxruntime

    file = run.manifest.tower
    if file is None or not run.has_file(file):
        raise BrokenRunError(f"Run {run.manifest.space} has no tower: its manifest names {file!r}.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            run.read_bytes(file), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise BrokenRunError(
            f"{run.path(file)} cannot be run as ONNX: {str(error).splitlines()[0]}."
        ) from None

    def query(pooled: Vectors) -> Vectors:
        return np.asarray(session.run(["query"], {"pooled": pooled})[0], np.float32)

    return query
