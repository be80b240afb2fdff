"""GET /v1/pages/{page}: all sections of a page in one answer."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel

from nearfeed_contracts.fields import Id
from nearfeed_recommender.admission.control import Deadline
from nearfeed_recommender.http.access import Context, Reads, require
from nearfeed_recommender.http.direct_route import DirectRoute
from nearfeed_recommender.http.feed import Explain, FeedItemOut, json_response
from nearfeed_recommender.http.parameters import refuse_unknown_parameters

router = APIRouter(
    prefix="/v1",
    tags=["feed"],
    route_class=DirectRoute,
    dependencies=[Depends(require("feed")), Depends(refuse_unknown_parameters)],
)


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


@router.get("/pages/{page}", summary="A page with all sections", response_model=PageOut)
async def get_page(
    request: Request,
    context: Context,
    reads: Reads,
    page: Annotated[Id, Path(description="a page of the configuration")],
    user_id: Annotated[Id, Query(description="the reader")],
    explain: Explain = False,
) -> Response:
    """Each section is filled by its provider, and fails alone: the others are answered."""

    def work(deadline: Deadline) -> bytes:
        answer = context.answers.pages.answer(page, user_id, explain=explain, until=deadline.at)
        return answer.encode(explain=explain)

    return json_response(await reads.run(request, work))
