"""Several models as one, blended as a provider blends its sources: by weighted reciprocal-rank fusion."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from nearfeed_core.fusion import fused
from nearfeed_core.metrics import NOTHING
from nearfeed_embedder.comparison.models import UnknownModelError
from nearfeed_embedder.dataset import Rows
from nearfeed_embedder.evaluation.ranking import ranked_of
from nearfeed_embedder.evaluation.split import Scorer, Scores, Split

PREFIX = "blend:"
K = 60.0
DEPTH = 500
_FORM = "blend:MODEL*WEIGHT+MODEL*WEIGHT@k=60,depth=500"
M = TypeVar("M")


@dataclass(frozen=True)
class Blend(Generic[M]):
    """Models and their weights by name; of each the first `depth` are blended."""

    models: Mapping[str, M]
    weights: Mapping[str, float]
    k: float = K
    depth: int = DEPTH


def blend_of(asked: str, open_member: Callable[[str], M]) -> Blend[M] | None:
    """The blend of `blend:als*2+item-knn@k=60,depth=500`, None where it is another model.

    Weights, k and depth may be left out. Raises UnknownModelError and what `open_member` raises.
    """
    if not asked.startswith(PREFIX):
        return None
    members, at, settings = asked.removeprefix(PREFIX).rpartition("@")
    if not at:
        members, settings = settings, ""
    weights = dict(_weighted(asked, part) for part in members.split("+"))
    if len(weights) < len(members.split("+")):
        raise UnknownModelError(f"{asked} names a model twice: give it one weight.")
    k, depth = _settings(asked, settings)
    return Blend({name: open_member(name) for name in weights}, weights, k, depth)


def by_fusion(
    scorers: Mapping[str, Scorer],
    weights: Mapping[str, float],
    split: Split,
    k: float = K,
    depth: int = DEPTH,
) -> Scorer:
    """Of each scorer the first `depth` candidates that are not masked; what none of them has scores -inf."""
    column = {item_id: number for number, item_id in enumerate(split.item_ids)}

    def score(readers: Rows) -> Scores:
        tops = {
            name: ranked_of(scorer, split, readers, split.candidates, min(depth, split.n_items))
            for name, scorer in scorers.items()
        }
        scores = np.full((len(readers), split.n_items), -np.inf, np.float32)
        for row in range(len(readers)):
            rankings = {
                name: [split.item_ids[item] for item in top[row] if item != NOTHING]
                for name, top in tops.items()
            }
            found = fused(rankings, weights, k)
            scores[row, [column[item_id] for item_id in found]] = list(found.values())
        return scores

    return score


def _weighted(asked: str, part: str) -> tuple[str, float]:
    name, star, weight = part.rpartition("*")
    if not star:
        name, weight = weight, "1"
    number = _number(weight)
    if not name or not 0 < number < math.inf:
        raise UnknownModelError(f"{asked}: {part!r} is no model with a weight above 0; write {_FORM}.")
    return name, number


def _settings(asked: str, settings: str) -> tuple[float, int]:
    given = dict(part.partition("=")[::2] for part in settings.split(",") if part)
    k, depth = _number(given.pop("k", K)), _number(given.pop("depth", DEPTH))
    if given or not 0 <= k < math.inf or depth not in range(1, 100_001):
        raise UnknownModelError(
            f"{asked}: after @ stand k, from 0, and depth, a whole number from 1; write {_FORM}."
        )
    return k, int(depth)


def _number(text: str | float) -> float:
    """NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
