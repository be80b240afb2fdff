"""What every trainer is given, and what it gives back."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine

from nearfeed_contracts.runs import Manifest
from nearfeed_embedder.dataset import Dataset
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_runtime.operations import Step

Training = Generator[Step, None, Manifest]
"""Tells how far it is, and returns the manifest of the run that it has written."""


@dataclass(frozen=True)
class Task:
    """`dataset` ends before `until`, in microseconds since 1970, or now; of SQL read nothing later either.

    `configuration` is what the run's manifest has to hold, so that it can be trained again. Unless `force`
    is set, a model below popularity is to be refused (`check_quality`).
    """

    settings: EmbedderSettings
    engine: Engine
    dataset: Dataset
    until: int | None = None
    force: bool = False
    configuration: Mapping[str, Any] = field(default_factory=dict)
