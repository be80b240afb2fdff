"""The options of trainers: keyword parameters of their functions, and settings of the embedder."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.runs import Manifest
from nearfeed_embedder.run_folder import UnknownRecipeError
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.trainers.table import TRAINERS, Trainer
from nearfeed_runtime.settings import load_settings

_OF_ALL = ("weights", "half_life_days")


class UnknownOptionError(NearfeedError):
    """An option that a trainer does not have, or a value that it does not take."""


@dataclass(frozen=True)
class Chosen:
    """A trainer with all of its options, and the settings with those that options stand for."""

    trainer: Trainer
    settings: EmbedderSettings
    options: Mapping[str, Any]

    @property
    def configuration(self) -> dict[str, Any]:
        """By which `chosen_again` finds it in a run's manifest."""
        told = self.settings.model_dump(mode="json", include={*_OF_ALL, *self.trainer.settings})
        return {"options": dict(self.options), "settings": told}


def choose_options(
    name: str, trainer: Trainer, settings: EmbedderSettings, given: Iterable[tuple[str, Any]]
) -> Chosen:
    """Raises UnknownOptionError and SettingsError."""
    options, instead = trainer.defaults, dict[str, Any]()
    for key, value in given:
        if key in options:
            options[key] = _checked(name, trainer, key, value)
        elif key in trainer.settings:
            instead[key] = value
        else:
            told = _describe(trainer, settings)
            raise UnknownOptionError(f"{name} has no option {key!r}; its options: {told}.")
    effective = load_settings(EmbedderSettings, **{**settings.model_dump(), **instead})
    return Chosen(trainer, effective, options)


def chosen_again(manifest: Manifest, settings: EmbedderSettings) -> Chosen:
    """The trainer of a run with its options and settings; where data and devices are is of `settings`.

    Raises UnknownRecipeError.
    """
    trainer = TRAINERS.get(manifest.model)
    if trainer is None:
        raise UnknownRecipeError(
            f"Run {manifest.space} cannot be trained again: there is no trainer of {manifest.model!r}."
        )
    options, own = (manifest.configuration.get(part) for part in ("options", "settings"))
    if (
        not isinstance(own, dict)
        or not isinstance(options, dict)
        or options.keys() != trainer.defaults.keys()
    ):
        raise UnknownRecipeError(
            f"Run {manifest.space} cannot be trained again: its manifest was written by another version or "
            f"another trainer, whose options are not {', '.join(trainer.defaults) or 'none'}."
        )
    return choose_options(manifest.model, trainer, settings.model_copy(update=own), options.items())


def _checked(name: str, trainer: Trainer, key: str, value: Any) -> Any:
    kind = get_type_hints(trainer.function, include_extras=True)[key]
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]["msg"]
        raise UnknownOptionError(f"{name}: {key} cannot be {value!r}: {fault}.") from None


def _describe(trainer: Trainer, settings: EmbedderSettings) -> str:
    known = {**{name: getattr(settings, name) for name in trainer.settings}, **trainer.defaults}
    return ", ".join(f"{key}={value}" for key, value in known.items()) or "none"
