"""What a pipeline does, as data: a YAML file with a section for each of its steps."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from nearfeed_contracts.errors import NotFoundError
from nearfeed_contracts.fields import Id
from nearfeed_recommender.ingest.map_file import read_map
from nearfeed_recommender.ingest.sources import Strict
from nearfeed_standalone.importing.app_engine import format_url

BUILT_IN = Path(__file__).parent / "builtin"
DEFAULT = "default"
ACTIVE = "active"
STEPS = ("import", "train", "evaluate", "gate", "load", "activate")
TAKES_FROM = {"evaluate": "train", "gate": "evaluate", "load": "train", "activate": "load"}


def _empty_if_null(given: Any) -> Any:
    return {} if given is None else given


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, dict) else given or []


class ImportSource(Strict):
    """A file of one kind, or an app's database with the map of its columns.

    `from` is the database's URL, NEARFEED_IMPORT_FROM where it is not given. Paths are relative to the
    pipeline's file.
    """

    kind: Literal["items", "deletions", "interactions", "memberships", "vertices", "edges"] | None = None
    file: Path | None = None
    map: Path | None = None
    from_: str | None = Field(default=None, alias="from", min_length=1)

    @field_validator("from_", mode="after")
    @classmethod
    def _is_an_url(cls, url: str | None) -> str | None:
        try:
            return url if url is None else make_url(url).render_as_string(hide_password=False)
        except ArgumentError:
            raise ValueError("is no URL such as mysql+mysqlconnector://USER@HOST/DATABASE") from None

    @model_validator(mode="after")
    def _is_one_origin(self) -> "ImportSource":
        if (self.file is None) == (self.map is None):
            raise ValueError("needs either file or map")
        if (self.file is None) != (self.kind is None):
            raise ValueError("needs kind and file together")
        if self.from_ is not None and self.map is None:
            raise ValueError("from belongs to map")
        return self


class Evaluate(Strict):
    """What the run is compared with, as `nearfeed evaluate` names models."""

    models: list[str] = Field(min_length=1)


class Gate(Strict):
    """How far the run's metric may lie below that of a model of `evaluate`, or of `active`."""

    metric: str = Field(default="recall@20", pattern=r"^[a-z_]+@\d+$")
    may_lie_below: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(min_length=1)


class Load(Strict):
    """`wait`: seconds until the space must be ready; NEARFEED_READY_SECONDS where it is not given."""

    wait: float | None = Field(default=None, ge=0)


class Activate(Strict):
    """Has no choices."""


class Pipeline(Strict):
    """A section per step; a pipeline has the steps whose sections are there. `train` has train's options."""

    name: Id
    import_: Annotated[list[ImportSource] | None, BeforeValidator(_as_list)] = Field(
        default=None, alias="import"
    )
    train: Annotated[dict[str, Any] | None, BeforeValidator(_empty_if_null)] = None
    evaluate: Evaluate | None = None
    gate: Gate | None = None
    load: Annotated[Load | None, BeforeValidator(_empty_if_null)] = None
    activate: Annotated[Activate | None, BeforeValidator(_empty_if_null)] = None

    @field_validator("train", mode="after")
    @classmethod
    def _has_plain_options(cls, options: dict[str, Any] | None) -> dict[str, Any] | None:
        for name, value in (options or {}).items():
            values = value if isinstance(value, list) else [value]
            if not all(each is None or isinstance(each, bool | int | float | str) for each in values):
                raise ValueError(f"{name} must be a number, a text, true, false or a list of such")
        return options

    @field_validator("evaluate", "gate", "load", "activate", mode="after")
    @classmethod
    def _has_what_it_takes(cls, section: Any, info: ValidationInfo) -> Any:
        needed = TAKES_FROM[str(info.field_name)]
        if section is not None and info.data.get(needed, ()) is None:
            raise ValueError(f"needs the step {needed} before it")
        return section

    @field_validator("gate", mode="after")
    @classmethod
    def _compares_with_what_is_evaluated(cls, gate: Gate | None, info: ValidationInfo) -> Gate | None:
        evaluate = info.data.get("evaluate")
        if gate is not None and evaluate is not None:
            for name in gate.may_lie_below:
                if name not in (*evaluate.models, ACTIVE):
                    raise ValueError(f"may_lie_below names {name}, which is not among evaluate.models")
        return gate

    @model_validator(mode="after")
    def _has_a_step(self) -> "Pipeline":
        if not self.steps:
            raise ValueError(f"has no step; there are {', '.join(STEPS)}")
        return self

    def section(self, step: str) -> Any:
        """The section of a step, None where the pipeline does not have it."""
        return getattr(self, "import_" if step == "import" else step)

    @property
    def steps(self) -> list[str]:
        return [step for step in STEPS if self.section(step) is not None]


def read_pipeline(given: str) -> Pipeline:
    """A pipeline by its file, or one that is built in by its name. Raises MapError and NotFoundError."""
    path = Path(given)
    if path.suffix not in (".yaml", ".yml"):
        path = BUILT_IN / f"{given}.yaml"
        if "/" in given or not path.is_file():
            known = ", ".join(sorted(file.stem for file in BUILT_IN.glob("*.yaml")))
            raise NotFoundError(
                f"{given!r} is no pipeline: name a .yaml file, or one that is built in: {known}."
            )
    return _located(read_map(path, Pipeline), path.absolute().parent)


def _located(pipeline: Pipeline, folder: Path) -> Pipeline:
    """With full paths, for another process may read them."""
    if pipeline.import_ is None:
        return pipeline
    sources = [source.model_copy(update=_full_paths(source, folder)) for source in pipeline.import_]
    return pipeline.model_copy(update={"import_": sources})


def _full_paths(source: ImportSource, folder: Path) -> dict[str, Path]:
    return {name: folder / path for name in ("file", "map") if (path := getattr(source, name)) is not None}


def format_definition(pipeline: Pipeline) -> str:
    """The pipeline as JSON, without passwords."""
    sources = [
        source.model_copy(update={"from_": source.from_ and format_url(make_url(source.from_))})
        for source in pipeline.import_ or []
    ]
    shown = pipeline.model_copy(update={"import_": sources}) if pipeline.import_ else pipeline
    return shown.model_dump_json(by_alias=True, exclude_none=True)
