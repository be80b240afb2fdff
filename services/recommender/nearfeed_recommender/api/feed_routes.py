"""GET /v1/feed: the personal feed, page by page."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from nearfeed_contracts.fields import MAX_LIMIT, Id, IsoTime, to_micros
from nearfeed_recommender.answers.feed import FeedPage, first_page, next_page
from nearfeed_recommender.answers.showing import ShownPost
from nearfeed_recommender.api.access import Context, require

router = APIRouter(prefix="/v1", tags=["feed"], dependencies=[Depends(require("feed"))])

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


@router.get("/feed", summary="The reader's personal feed")
def get_feed(
    context: Context,
    user_id: Annotated[Id, Query(description="the reader; an unknown one gets popular and latest posts")],
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 20,
    cursor: Annotated[str | None, Query(max_length=500, description="next_cursor of the page before")] = None,
    community_id: Annotated[
        list[Id] | None, Query(max_length=100, description="only these communities; may be repeated")
    ] = None,
    published_after: Annotated[IsoTime | None, Query(description="only posts published since then")] = None,
    explain: Explain = False,
) -> FeedOut:
    """Posts of the reader's communities that they have not read and did not write, best first.

    A page is stable: later pages, asked for with `cursor`, continue the first one's ranking for 30
    minutes, without repeats. A cursor keeps the filters of its first page.
    """
    if cursor is not None:
        return _answer(next_page(context.serving, user_id, cursor, limit), explain)
    after = to_micros(published_after) if published_after else None
    wanted = frozenset(community_id or ())
    return _answer(first_page(context.serving, user_id, limit, wanted, after, explain=explain), explain)


def _answer(page: FeedPage, explain: bool) -> FeedOut:
    return FeedOut(
        request_id=page.request_id,
        space=page.space,
        provider=page.provider,
        degraded=page.degraded,
        failures=dict(page.failures),
        next_cursor=page.next_cursor,
        items=[item_out(shown, explain=explain) for shown in page.items],
    )


def item_out(shown: ShownPost, *, explain: bool) -> FeedItemOut:
    """A shown post as it is answered."""
    reason = ReasonOut(**vars(shown.reason))
    entry = shown.entry
    steps = [StepOut(**mark._asdict()) for mark in entry.marks] if explain else None
    return FeedItemOut(
        **vars(shown.post), score=entry.score, source=entry.source, reason=reason, explain=steps
    )
