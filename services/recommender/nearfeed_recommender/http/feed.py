"""GET /v1/feed: the personal feed, page by page."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from nearfeed_contracts.fields import MAX_LIMIT, Id, IsoTime, to_micros
from nearfeed_recommender.admission.control import Deadline
from nearfeed_recommender.http.access import Context, Reads, require
from nearfeed_recommender.http.direct_route import DirectRoute
from nearfeed_recommender.http.parameters import refuse_unknown_parameters
from nearfeed_recommender.users.eligibility import Wish

router = APIRouter(
    prefix="/v1",
    tags=["feed"],
    route_class=DirectRoute,
    dependencies=[Depends(require("feed")), Depends(refuse_unknown_parameters)],
)

Explain = Annotated[bool, Query(description="tell of each post what every step made of it")]


class PostOut(BaseModel):
    """A post's metadata."""

    id: str
    community_id: str
    author_id: str
    title: str
    body: str
    tags: tuple[str, ...]
    language: str | None
    url: str | None
    published_at: datetime


class ReasonOut(BaseModel):
    """Why a post is in the feed; `item_id` names the read post that is closest to it."""

    kind: str
    text: str
    item_id: str | None


class StepOut(BaseModel):
    """What a step made of a post: `source:NAME`, `blend`, `rank`, `less` or `slate:RULE`.

    Ranks count from 1.
    """

    step: str
    rank: int
    score: float


class FeedItemOut(PostOut):
    """A post in an answer: `source` is that of the provider which brought it."""

    score: float
    source: str
    reason: ReasonOut
    explain: list[StepOut] | None = Field(
        default=None, description="its way through the provider, with explain=true"
    )


class FeedOut(BaseModel):
    """A page of the feed.

    `degraded` says that it had to do without a source or a step, `failures` without which and why.
    """

    request_id: str
    space: str | None
    provider: str
    degraded: bool
    failures: dict[str, str]
    next_cursor: str | None
    items: list[FeedItemOut]


@router.get("/feed", summary="The personal feed of a user", response_model=FeedOut)
async def get_feed(
    request: Request,
    context: Context,
    reads: Reads,
    user_id: Annotated[Id, Query(description="the reader; an unknown one gets popular and latest posts")],
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 20,
    cursor: Annotated[str | None, Query(max_length=500, description="next_cursor of the page before")] = None,
    community_id: Annotated[
        list[Id] | None, Query(max_length=100, description="only these communities; may be repeated")
    ] = None,
    published_after: Annotated[IsoTime | None, Query(description="only posts published since then")] = None,
    explain: Explain = False,
) -> Response:
    """Posts of the reader's communities that they have not read and did not write, best first.

    A page is stable: later pages, asked for with `cursor`, continue the first one's ranking for 30
    minutes, without repeats. A cursor keeps the filters of its first page.
    """
    feed = context.answers.feed
    after = to_micros(published_after) if published_after else None
    wish = Wish(frozenset(community_id or ()), after)

    def work(deadline: Deadline) -> bytes:
        if cursor is not None:
            return feed.next(user_id, cursor, limit).encode(explain=explain)
        page = feed.first(user_id, limit, wish, explain=explain, until=deadline.at)
        return page.encode(explain=explain)

    def cheap() -> bytes:
        return feed.cheap(user_id, limit, wish).encode()

    return json_response(await reads.run(request, work, cheap if cursor is None else None))


def json_response(body: bytes, status: int = HTTPStatus.OK) -> Response:
    """A response of JSON that is encoded already."""
    return Response(body, status, media_type="application/json")
