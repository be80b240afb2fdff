"""What a run is trained by besides the data. Its manifest holds it, so that the run can be trained again."""

from dataclasses import dataclass, replace
from typing import Any

from nearfeed_contracts.runs import Manifest
from nearfeed_embedder.graph.features import Vocabulary
from nearfeed_embedder.graph.pinsage import Shape
from nearfeed_embedder.graph.train import TrainRule
from nearfeed_embedder.graph.walks import WalkRule
from nearfeed_embedder.linear.autoencoder import LinearRule
from nearfeed_embedder.run_folder import UnknownRecipeError
from nearfeed_embedder.settings import EmbedderSettings

_SETTINGS = {
    "text_model",
    "text_pooling",
    "text_tokens",
    "text_batch",
    "text_objective",
    "text_epochs",
    "text_samples",
    "dim",
    "linear_dim",
    "epochs",
    "seed",
    "weights",
    "half_life_days",
}


@dataclass(frozen=True)
class Recipe:
    """`shape` counts nothing of the data yet: `shape_for` does."""

    settings: EmbedderSettings
    shape: Shape
    training: TrainRule
    linear: LinearRule

    def shape_for(self, text_dim: int, vocabulary: Vocabulary) -> Shape:
        communities, tags = len(vocabulary.communities), len(vocabulary.tags)
        return replace(self.shape, text_dim=text_dim, communities=communities, tags=tags)

    def to_json(self) -> dict[str, Any]:
        return {
            "settings": self.settings.model_dump(mode="json", include=_SETTINGS),
            "shape": self.shape.to_json(),
            "training": self.training.to_json(),
            "linear": self.linear.to_json(),
        }


def recipe_of(settings: EmbedderSettings) -> Recipe:
    """The one that this version has found best."""
    return Recipe(
        settings,
        Shape(0, 0, 0, settings.dim),
        TrainRule(epochs=settings.epochs),
        LinearRule(dim=settings.linear_dim),
    )


def recipe_of_run(settings: EmbedderSettings, manifest: Manifest) -> Recipe:
    """That of a run; where data and devices are is taken from `settings`. Raises UnknownRecipeError."""
    told = manifest.configuration
    now = recipe_of(settings).to_json()
    if unlike := _unlike(now, {part: told.get(part) for part in now}):
        raise UnknownRecipeError(
            f"Run {manifest.space} cannot be trained again: its manifest was written by another version or "
            f"another trainer, which tells {unlike} otherwise."
        )
    walks = WalkRule(**told["training"]["walks"])
    return Recipe(
        settings.model_copy(update=told["settings"]),
        Shape(**told["shape"]),
        TrainRule(**_tuples(told["training"]) | {"walks": walks}),
        LinearRule(**told["linear"]),
    )


def _unlike(some: Any, others: Any, name: str = "") -> str:
    """The first name that only one of both has; weights are of kinds that may be left out."""
    if not isinstance(some, dict) or name == "settings.weights":
        return ""
    if not isinstance(others, dict):
        return name
    if lacking := some.keys() ^ others.keys():
        return f"{name}.{min(lacking)}"
    below = (_unlike(some[key], others[key], f"{name}.{key}".strip(".")) for key in some)
    return next(filter(None, below), "")


def _tuples(rule: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists alone."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in rule.items()}
