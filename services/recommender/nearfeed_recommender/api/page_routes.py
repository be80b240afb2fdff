"""GET /v1/pages/{page}: all sections of a page in one answer."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel

from nearfeed_contracts.fields import Id
from nearfeed_recommender.answers.pages import SectionAnswer, answer_page
from nearfeed_recommender.api.access import Context, require
from nearfeed_recommender.api.feed_routes import Explain, FeedItemOut, item_out

router = APIRouter(prefix="/v1", tags=["feed"], dependencies=[Depends(require("feed"))])


class SectionOut(BaseModel):
    """A section of a page; `failures` says which sources and steps it had to do without, and why."""

    name: str
    title: str
    provider: str
    degraded: bool
    failures: dict[str, str]
    items: list[FeedItemOut]


class PageOut(BaseModel):
    """A page for a reader; a post stands in one section alone."""

    request_id: str
    space: str | None
    config_version: int
    sections: list[SectionOut]


@router.get("/pages/{page}", summary="All sections of a page")
def get_page(
    context: Context,
    page: Annotated[Id, Path(description="a page of the configuration")],
    user_id: Annotated[Id, Query(description="the reader")],
    explain: Explain = False,
) -> PageOut:
    """Each section is filled by its provider, and fails alone: the others are answered."""
    answer = answer_page(context.serving, page, user_id, explain=explain)
    return PageOut(
        request_id=answer.request_id,
        space=answer.space,
        config_version=answer.config_version,
        sections=[_section(section, explain) for section in answer.sections],
    )


def _section(section: SectionAnswer, explain: bool) -> SectionOut:
    return SectionOut(
        name=section.name,
        title=section.title,
        provider=section.provider,
        degraded=bool(section.failures),
        failures=dict(section.failures),
        items=[item_out(shown, explain=explain) for shown in section.items],
    )
