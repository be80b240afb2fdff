"""Rankers of runs: LightGBM's trees, or a network in ONNX, over the features that training had."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from nearfeed_contracts.runs import RANKER, BrokenRunError, Run
from nearfeed_core.ranking_features import CATEGORIES, Features, FeatureSpec, FeatureSpecError, Featuriser
from nearfeed_core.ranking_inputs import PostInputs, ReaderInputs
from nearfeed_recommender.models.onnx_files import broken_onnx, onnx_session

Scores = NDArray[np.float32]
# Without it LightGBM may end the process instead of raising an error.
_LAST_OF_TREES = "end of parameters"


@dataclass(frozen=True)
class Ranker:
    """Scores candidates of one request; thread-safe."""

    featuriser: Featuriser
    predict: Callable[[Features], Scores]

    def score(self, reader: ReaderInputs, posts: Sequence[PostInputs]) -> Scores:
        """(n), higher is better."""
        if not posts:
            return np.empty(0, np.float32)
        return self.predict(self.featuriser.features(reader, posts))


def load_ranker(run: Run) -> Ranker:
    """Raises BrokenRunError with the file and what is wrong with it."""
    told = _description_of(run)
    path = run.path(RANKER)
    kind, file = told.get("format"), told.get("file")
    if kind not in _LOADERS:
        raise BrokenRunError(f"{path}: format must be one of {', '.join(_LOADERS)}, not {kind!r}.")
    if not isinstance(file, str) or not run.has_file(file):
        raise BrokenRunError(f"{path}: file is {file!r}, for which the manifest has no checksum.")
    try:
        spec = FeatureSpec.from_json(told.get("features") or {})
    except FeatureSpecError as error:
        raise BrokenRunError(f"{path}: {error}") from None
    return Ranker(Featuriser(spec), _LOADERS[kind](run, file, spec))


def _description_of(run: Run) -> dict[str, Any]:
    try:
        told = orjson.loads(run.read_bytes(RANKER))
    except orjson.JSONDecodeError as error:
        raise BrokenRunError(f"{run.path(RANKER)} is no JSON: {error}.") from None
    if not isinstance(told, dict):
        raise BrokenRunError(f"{run.path(RANKER)} must be an object with format, file and features.")
    return told


def _lightgbm(run: Run, file: str, spec: FeatureSpec) -> Callable[[Features], Scores]:
    # Who serves no such ranker need not wait for lightgbm, nor have its threads.
    import lightgbm

    text = run.read_bytes(file).decode(errors="replace")
    if _LAST_OF_TREES not in text:
        raise BrokenRunError(f"{run.path(file)} is cut: it has no line {_LAST_OF_TREES!r}.")
    try:
        booster = lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise BrokenRunError(f"{run.path(file)} cannot be read by LightGBM: {error}.") from None
    expected = len(spec.dense) + len(CATEGORIES)
    if booster.num_feature() != expected:
        raise BrokenRunError(
            f"{run.path(file)} takes {booster.num_feature()} features, where {RANKER} names {expected}."
        )

    def predict(features: Features) -> Scores:
        return np.asarray(booster.predict(features.flat, num_threads=1), np.float32)

    return predict


def _onnx(run: Run, file: str, spec: FeatureSpec) -> Callable[[Features], Scores]:
    session = onnx_session(run, file, inputs={"dense": len(spec.dense), "categories": len(CATEGORIES)})
    output = session.get_outputs()[0].name

    def predict(features: Features) -> Scores:
        fed = {"dense": features.dense, "categories": features.categories}
        return np.asarray(session.run([output], fed)[0], np.float32)

    with broken_onnx(run, file):
        predict(Featuriser(spec).features(ReaderInputs(0), [PostInputs("", "", "", 0)]))
    return predict


_LOADERS: dict[str, Callable[[Run, str, FeatureSpec], Callable[[Features], Scores]]] = {
    "lightgbm": _lightgbm,
    "onnx": _onnx,
}
