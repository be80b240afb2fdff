"""Posts and communities."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel

from nearfeed_contracts.fields import MAX_LIMIT, Id, IsoTime, to_micros
from nearfeed_recommender.admission.control import Deadline
from nearfeed_recommender.catalog.posts import posts_by_id
from nearfeed_recommender.catalog.writes import (
    ItemContent,
    ItemDraft,
    UnknownItemError,
    delete_items,
    put_communities,
    put_items,
)
from nearfeed_recommender.http.access import Context, Reads, require
from nearfeed_recommender.http.direct_route import DirectRoute
from nearfeed_recommender.http.feed import PostOut, json_response
from nearfeed_recommender.http.parameters import refuse_unknown_parameters, require_not_ahead
from nearfeed_runtime.sql import committed, read_connection

router = APIRouter(prefix="/v1", tags=["posts"])
similar = APIRouter(
    route_class=DirectRoute,
    dependencies=[Depends(require("feed")), Depends(refuse_unknown_parameters)],
)
ItemId = Annotated[Id, Path(description="the post", pattern="[^/]$")]
CommunityId = Annotated[Id, Path(description="the community")]


class ItemIn(ItemContent):
    """A post; its id is in the path."""

    published_at: IsoTime | None = None


class StoredOut(BaseModel):
    """A stored post; `changed` is false where it stood already with the same content."""

    id: str
    changed: bool


class SimilarItemOut(PostOut):
    """A post with its inner product with the post that was asked for."""

    score: float


class SimilarOut(BaseModel):
    """Similar posts, best first; empty for a post that has no vector yet."""

    space: str | None
    items: list[SimilarItemOut]


@similar.get("/items/{item_id:path}/similar", summary="Posts similar to a post", response_model=SimilarOut)
async def get_similar(
    request: Request,
    context: Context,
    reads: Reads,
    item_id: ItemId,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 10,
    user_id: Annotated[Id | None, Query(description="a reader, whose controls and memberships hold")] = None,
) -> Response:
    def work(_: Deadline) -> bytes:
        return context.answers.similar.to(item_id, limit, user_id).encode()

    return json_response(await reads.run(request, work))


router.include_router(similar)


@router.get("/items/{item_id:path}", summary="A post", dependencies=[Depends(require("feed"))])
def get_item(context: Context, item_id: ItemId) -> PostOut:
    with read_connection(context.engine) as connection:
        post = posts_by_id(connection, [item_id]).get(item_id)
    if post is None:
        raise UnknownItemError(f"There is no item {item_id!r}.")
    return PostOut(**asdict(post))


@router.put("/items/{item_id:path}", summary="Add or edit a post", dependencies=[Depends(require("items"))])
def put_item(context: Context, item_id: ItemId, content: ItemIn) -> StoredOut:
    """Visible from the response on; in personal feeds as soon as the post has its vector, within seconds."""
    if content.published_at:
        require_not_ahead(context, "published_at", to_micros(content.published_at))
    draft = ItemDraft(item_id=item_id, **content.model_dump())
    changed = committed(
        context.engine, lambda transaction: put_items(transaction, [draft], create_communities=False)
    )
    context.relay.notify()
    return StoredOut(id=item_id, changed=bool(changed))


@router.delete(
    "/items/{item_id:path}",
    summary="Take a post down",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[Depends(require("items"))],
)
def remove_item(context: Context, item_id: ItemId) -> Response:
    """Nobody sees the post from the answer on."""
    committed(context.engine, lambda transaction: delete_items(transaction, [item_id]))
    context.relay.notify()
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.put(
    "/communities/{community_id:path}",
    summary="Create a community",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[Depends(require("items"))],
)
def put_community(context: Context, community_id: CommunityId) -> Response:
    """Posts and memberships name communities that were made; making one twice is no error."""
    committed(context.engine, lambda transaction: put_communities(transaction, [community_id]))
    return Response(status_code=HTTPStatus.NO_CONTENT)
