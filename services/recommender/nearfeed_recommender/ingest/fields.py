"""The fields of each kind of data, each with the source that a map gives it."""

from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter, ValidationError

from nearfeed_contracts.events import Control, Kind
from nearfeed_contracts.fields import MAX_TAGS, Body, Id, Language, Tag, Title, Url, UtcTime
from nearfeed_recommender.ingest.sources import (
    FlagSource,
    Lookup,
    NumberSource,
    Source,
    Strict,
    TagsSource,
    TimeSource,
    text_of,
)


def _states(form: Any) -> AfterValidator:
    """What a map states by itself must be a value that the field may have."""
    adapter = TypeAdapter(form)

    def check(source: Source) -> Source:
        for value in source.stated:
            try:
                adapter.validate_python(text_of(value))
            except ValidationError as error:
                fault = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
                raise ValueError(f"{value!r} cannot stand here: {_lowered(fault)}") from None
        return source

    return AfterValidator(check)


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


IdSource = Annotated[Source, _states(Id)]
KindSource = Annotated[Source, _states(Kind)]
ControlSource = Annotated[Source, _states(Control)]
TargetSource = Annotated[Source, _states(Id | Tag)]
TitleSource = Annotated[Source, _states(Title)]
BodySource = Annotated[Source, _states(Body)]
LanguageSource = Annotated[Source, _states(Language)]
UrlSource = Annotated[Source, _states(Url)]
RatingSource = Annotated[NumberSource, _states(float)]
YesOrNoSource = Annotated[FlagSource, _states(bool)]
MomentSource = Annotated[TimeSource, _states(UtcTime)]
TagListSource = Annotated[
    TagsSource, _states(Annotated[list[Tag], AfterValidator(lambda tags: tags[:MAX_TAGS])])
]


class Fields(Strict):
    """Values of one kind of data."""

    def sources(self) -> dict[str, Source]:
        """The sources that the map gives, by field."""
        return {name: value for name, value in self if isinstance(value, Source)}

    def values_of(self, lookup: Lookup) -> dict[str, Any]:
        """The values of the fields that have one; all must but those that a map may leave out.

        Raises ValueError that begins with the field at fault.
        """
        values: dict[str, Any] = {}
        for name, source in self.sources().items():
            try:
                value = source.value_of(lookup)
            except (ValueError, ArithmeticError, TypeError) as error:
                raise ValueError(f"{name}: {error}") from None
            if value is not None:
                values[name] = value
            elif type(self).model_fields[name].default is not None:
                raise ValueError(f"{name}: {source.from_} is missing or empty")
        return values


class ItemFields(Fields):
    """A post as it is now, whole."""

    item_id: IdSource
    community_id: IdSource
    author_id: IdSource
    title: TitleSource
    body: BodySource | None = None
    tags: TagListSource | None = None
    language: LanguageSource | None = None
    url: UrlSource | None = None
    published_at: MomentSource


class DeletionFields(Fields):
    """A post that is gone."""

    item_id: IdSource


class InteractionFields(Fields):
    """Who did what with which post, and when."""

    user_id: IdSource
    item_id: IdSource
    kind: KindSource
    occurred_at: MomentSource
    value: RatingSource | None = None


class MembershipFields(Fields):
    """Who is in which community."""

    user_id: IdSource
    community_id: IdSource
