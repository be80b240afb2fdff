"""All trainers by name. A new one is one line here.

Nothing is imported before it trains, for commands and servers look at this table.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from nearfeed_contracts.errors import NearfeedError

_TRAINERS = "nearfeed_embedder.trainers"
DEFAULT = "pinsage-linear"


class UnknownTrainerError(NearfeedError):
    """A model that no trainer makes."""


@dataclass(frozen=True)
class Trainer:
    """`path` is `module:function` of a `function(task, *, …) -> Training`, with `Task` and `Training` of
    `nearfeed_embedder.trainers.task`.

    Its keyword parameters are its options, which pydantic checks by their annotations. `settings` are those
    of the embedder that it looks at, and that options may stand for.
    """

    path: str
    settings: tuple[str, ...] = ()

    @property
    def function(self) -> Callable[..., Any]:
        found: Callable[..., Any] = resolve_name(self.path)
        return found

    @property
    def defaults(self) -> dict[str, Any]:
        """Its own options."""
        return {
            name: parameter.default
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }


TRAINERS = {
    DEFAULT: Trainer(
        f"{_TRAINERS}.pinsage_linear:train_pinsage_linear",
        ("epochs", "text_epochs", "dim", "linear_dim", "seed"),
    ),
    "als": Trainer(f"{_TRAINERS}.als:train_als", ("seed",)),
    "item-knn": Trainer(f"{_TRAINERS}.item_to_item:train_item_knn"),
    "ease": Trainer(f"{_TRAINERS}.item_to_item:train_ease"),
    "popularity": Trainer(f"{_TRAINERS}.popularity:train_popularity"),
    "random-walk": Trainer(f"{_TRAINERS}.random_walk:train_random_walk", ("seed",)),
    "youtube-dnn": Trainer(f"{_TRAINERS}.youtube_dnn:train_youtube_dnn", ("seed",)),
    "lambdamart": Trainer(f"{_TRAINERS}.rankers:train_lambdamart", ("seed",)),
    "fm": Trainer(f"{_TRAINERS}.rankers:train_fm", ("seed",)),
    "ffm": Trainer(f"{_TRAINERS}.rankers:train_ffm", ("seed",)),
    "wide-deep": Trainer(f"{_TRAINERS}.rankers:train_wide_deep", ("seed",)),
    "deepfm": Trainer(f"{_TRAINERS}.rankers:train_deepfm", ("seed",)),
}


def trainer_named(name: str) -> Trainer:
    """Raises UnknownTrainerError."""
    if name not in TRAINERS:
        raise UnknownTrainerError(
            f"--model: there is no trainer of {name!r}; there are {', '.join(TRAINERS)}."
        )
    return TRAINERS[name]
