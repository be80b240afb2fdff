"""GET /v1/feed: the personal feed, page by page."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from nearfeed_contracts.fields import MAX_LIMIT, Id, UtcTime, to_micros
from nearfeed_recommender.api.access import Context, require
from nearfeed_recommender.feed import FeedPage, ShownPost, first_page, next_page

router = APIRouter(prefix="/v1", tags=["feed"], dependencies=[Depends(require("feed"))])


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


class FeedItemOut(PostOut):
    """A post in the feed: `source` is personal, new, popular or latest."""

    score: float
    source: str
    reason: ReasonOut


class FeedOut(BaseModel):
    """A page of the feed. `degraded` says that it is no personal one though it should be."""

    request_id: str
    space: str | None
    degraded: bool
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
    published_after: Annotated[UtcTime | None, Query(description="only posts published since then")] = None,
) -> FeedOut:
    """Posts of the reader's communities that they have not read and did not write, best first.

    A page is stable: later pages, asked for with `cursor`, continue the first one's ranking for 30
    minutes, without repeats. A cursor keeps the filters of its first page.
    """
    if cursor is not None:
        return _answer(next_page(context.feed, user_id, cursor, limit))
    after = to_micros(published_after) if published_after else None
    return _answer(first_page(context.feed, user_id, limit, frozenset(community_id or ()), after))


def _answer(page: FeedPage) -> FeedOut:
    return FeedOut(
        request_id=page.request_id,
        space=page.space,
        degraded=page.degraded,
        next_cursor=page.next_cursor,
        items=[_item(shown) for shown in page.items],
    )


def _item(shown: ShownPost) -> FeedItemOut:
    reason = ReasonOut(**asdict(shown.reason))
    return FeedItemOut(**asdict(shown.post), score=shown.score, source=shown.source, reason=reason)
