"""The settings that all services share, read from the environment with the prefix NEARFEED_."""

import re
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSettingError

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.events import Kind
from nearfeed_core.readings import WeightRule

_EMBEDDED = {
    "vectors_url": ("faiss:", "milvus-lite:", "memory:"),
    "database_url": ("sqlite:",),
    "log_url": ("embedded:",),
}
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class SettingsError(NearfeedError):
    """A setting that cannot hold; the text names it."""


class Settings(BaseSettings):
    """Where things are. An empty URL means the embedded back end in `data_dir`."""

    model_config = SettingsConfigDict(env_prefix="NEARFEED_", extra="ignore", env_ignore_empty=True)

    data_dir: Path = Field(default=Path("nearfeed-data"), description="folder of the embedded back ends")
    vectors_url: str = Field(
        default="",
        description="vector store: faiss:///PATH, milvus-lite:///PATH, milvus://HOST:19530 "
        "or opensearch://HOST:9200",
    )
    database_url: str = Field(
        default="",
        description="SQL database: sqlite:///PATH or mysql+mysqlconnector://USER:PASSWORD@HOST/NAME",
    )
    log_url: str = Field(
        default="", description="event log: embedded:///PATH or kafka://HOST:9092?partitions=4"
    )
    runs_url: str = Field(default="", description="folder of runs: any fsspec URL")
    log_level: str = Field(
        default="INFO",
        pattern="(?i)^(debug|info|warning|error)$",
        description="DEBUG, INFO, WARNING or ERROR",
    )
    health_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="port of `/healthz`, `/readyz` and `/metrics` of a process without an API; 0: none",
    )
    weights: dict[Kind, Weight] = Field(
        default_factory=lambda: dict(WeightRule().by_kind),
        description="JSON: what each kind of interaction adds to a reading's weight",
    )
    half_life_days: float = Field(
        default=WeightRule().half_life_days,
        gt=0,
        description="a reading counts half when it is this much older than the reader's newest",
    )

    @model_validator(mode="after")
    def _fill_urls(self) -> "Settings":
        folder = self.data_dir.absolute()
        self.vectors_url = self.vectors_url or f"faiss://{folder}/vectors"
        self.database_url = self.database_url or f"sqlite:///{folder}/nearfeed.db"
        self.log_url = self.log_url or f"embedded://{folder}/log.db"
        self.runs_url = self.runs_url or f"file://{folder}/runs"
        return self

    @property
    def embedded(self) -> list[str]:
        """The settings that name a back end of one process, such as NEARFEED_DATABASE_URL."""
        return [
            f"NEARFEED_{name.upper()}"
            for name, schemes in _EMBEDDED.items()
            if getattr(self, name).startswith(schemes)
        ]

    @property
    def weight_rule(self) -> WeightRule:
        return WeightRule(self.weights, self.half_life_days)


S = TypeVar("S", bound="Settings")


def load_settings(model: type[S], **overrides: object) -> S:
    """Settings from the environment, `overrides` first. Raises SettingsError naming the variable."""
    try:
        return model(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"][:1])
        given = "" if _may_be_secret(name) else f" (it is {first['input']!r})"
        raise SettingsError(f"NEARFEED_{name.upper()}: {first['msg']}{given}.") from None
    except UnreadableSettingError as error:
        found = re.search(r'field "(\w+)"', str(error))
        name = found.group(1).upper() if found else ""
        raise SettingsError(f"NEARFEED_{name}: it must be JSON, and cannot be read as such.") from None


def _may_be_secret(name: str) -> bool:
    return name == "api_keys" or name.endswith(("secret", "_key", "_url"))
