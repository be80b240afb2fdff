"""Writes a ranker as a run."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from nearfeed_contracts.runs import RANKER, Manifest
from nearfeed_core.ranking_features import FeatureSpec
from nearfeed_embedder.dataset import Dataset
from nearfeed_embedder.rankers.examples import Fitted, Group
from nearfeed_embedder.run_folder import new_run, put_file

_LIBRARIES = ("numpy", "lightgbm", "torch", "torch-rechub", "onnx", "onnxscript")


def write_ranker(
    runs_url: str,
    name: str,
    dataset: Dataset,
    groups: Sequence[Group],
    spec: FeatureSpec,
    fitted: Fitted,
    *,
    metrics: Mapping[str, Any],
    configuration: Mapping[str, Any],
) -> Manifest:
    """Writes `ranker.json` (format, file, features) and the file that it names as a new run.

    `dataset` has the readings by which the `groups` are graded.
    """
    told = {"format": fitted.format, "file": fitted.file, "features": spec.to_json()}
    with new_run(runs_url, name) as run:
        put_file(run.url, fitted.file, fitted.write())
        put_file(run.url, RANKER, orjson.dumps(told))
        return run.seal(
            dataset,
            _LIBRARIES,
            kind="ranker",
            rows={"groups": len(groups), "posts": sum(len(group.posts) for group in groups)},
            metrics=dict(metrics),
            configuration=dict(configuration),
        )
