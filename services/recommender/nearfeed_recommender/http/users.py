"""Readers: memberships, controls, the vector behind the feed, a new beginning, erasure."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel
from sqlalchemy import Connection

from nearfeed_contracts.events import Control
from nearfeed_contracts.fields import Id, Tag, from_micros, now_micros
from nearfeed_recommender.catalog.posts import posts_by_id
from nearfeed_recommender.catalog.spaces import active_space_of
from nearfeed_recommender.http.access import Actor, Context, require
from nearfeed_recommender.identity.erasures import hash_user
from nearfeed_recommender.users.erasure import OwnPosts, erase_user
from nearfeed_recommender.users.memberships import (
    leave_community,
    memberships_of,
    put_memberships,
    set_control,
    set_controls,
)
from nearfeed_recommender.users.profiles import load_profile
from nearfeed_recommender.users.reset import reset_reader
from nearfeed_recommender.users.user_vectors import live_spaces
from nearfeed_runtime.auditing import put_audit
from nearfeed_runtime.sql import committed, read_connection

router = APIRouter(prefix="/v1/users", tags=["readers"])
UserId = Annotated[Id, Path(description="the reader")]
CommunityId = Annotated[Id, Path(description="the community")]
Target = Annotated[
    Id | Tag, Path(description="an author (block, mute, follow), a tag (mute) or a post (hide, less)")
]
_NO_CONTENT = HTTPStatus.NO_CONTENT


class MembershipOut(BaseModel):
    """A community that a reader has joined."""

    community_id: str
    joined_at: datetime


class MembershipsOut(BaseModel):
    """All of them, the newest first."""

    user_id: str
    communities: list[MembershipOut]


class ControlOut(BaseModel):
    """A control as it stands."""

    control: Control
    target: str
    set_at: datetime


class ControlsOut(BaseModel):
    """All of them, the newest first."""

    user_id: str
    controls: list[ControlOut]


class ReadingOut(BaseModel):
    """A post behind a reader's vector, with its weight relative to the newest reading."""

    item_id: str
    title: str | None
    weight: float


class ReaderVectorOut(BaseModel):
    """A reader's vector in the active space and the readings it is pooled from, newest first."""

    user_id: str
    space: str | None
    vector: list[float] | None
    readings: list[ReadingOut]


@router.put(
    "/{user_id}/communities/{community_id:path}",
    summary="Join a community",
    status_code=_NO_CONTENT,
    dependencies=[Depends(require("events"))],
)
def join(context: Context, user_id: UserId, community_id: CommunityId) -> Response:
    committed(
        context.engine,
        lambda transaction: put_memberships(transaction, [(user_id, community_id, now_micros())]),
    )
    context.relay.notify()
    return Response(status_code=_NO_CONTENT)


@router.delete(
    "/{user_id}/communities/{community_id:path}",
    summary="Leave a community",
    status_code=_NO_CONTENT,
    dependencies=[Depends(require("events"))],
)
def leave(context: Context, user_id: UserId, community_id: CommunityId) -> Response:
    committed(context.engine, lambda transaction: leave_community(transaction, user_id, community_id))
    context.relay.notify()
    return Response(status_code=_NO_CONTENT)


@router.get(
    "/{user_id:path}/communities",
    summary="List the communities of a user",
    dependencies=[Depends(require("feed"))],
)
def get_communities(context: Context, user_id: UserId) -> MembershipsOut:
    with read_connection(context.engine) as connection:
        joined = memberships_of(connection, user_id)
    communities = [
        MembershipOut(community_id=community, joined_at=from_micros(at)) for community, at in joined
    ]
    return MembershipsOut(user_id=user_id, communities=communities)


@router.get(
    "/{user_id:path}/controls",
    summary="List the controls of a user",
    dependencies=[Depends(require("feed"))],
)
def get_controls(context: Context, user_id: UserId) -> ControlsOut:
    with read_connection(context.engine) as connection:
        found = set_controls(connection, user_id)
    controls = [
        ControlOut(control=each.control, target=each.target, set_at=from_micros(each.set_at))
        for each in found
    ]
    return ControlsOut(user_id=user_id, controls=controls)


@router.put(
    "/{user_id}/controls/{control}/{target:path}",
    summary="Set a control",
    status_code=_NO_CONTENT,
    dependencies=[Depends(require("events"))],
)
def put_control(context: Context, user_id: UserId, control: Control, target: Target) -> Response:
    """Holds in the next answer: `block` and `mute` leave out an author (`mute` a tag too), `hide` a post,
    `less` a post and those close to it, while others like it stand lower; `follow` is kept."""
    return _control(context, user_id, control, target, active=True)


@router.delete(
    "/{user_id}/controls/{control}/{target:path}",
    summary="Remove a control",
    status_code=_NO_CONTENT,
    dependencies=[Depends(require("events"))],
)
def delete_control(context: Context, user_id: UserId, control: Control, target: Target) -> Response:
    return _control(context, user_id, control, target, active=False)


@router.get(
    "/{user_id}/vector", summary="Posts and weights of a user vector", dependencies=[Depends(require("feed"))]
)
def get_vector(context: Context, user_id: UserId) -> ReaderVectorOut:
    with read_connection(context.engine) as connection:
        space = active_space_of(connection)
        if space is None:
            return ReaderVectorOut(user_id=user_id, space=None, vector=None, readings=[])
        pooling = context.pooling
        profile = load_profile(connection, pooling, space, user_id)
        vector = profile.vector(live_spaces(connection)[space])
        titles = {post.id: post.title for post in posts_by_id(connection, profile.item_ids).values()}
    readings = [
        ReadingOut(item_id=item, title=titles.get(item), weight=weight)
        for item, weight in zip(profile.item_ids, profile.weights, strict=True)
    ]
    return ReaderVectorOut(
        user_id=user_id,
        space=space,
        vector=vector.tolist() if vector is not None else None,
        readings=readings,
    )


@router.post(
    "/{user_id:path}/reset",
    summary="Reset a user",
    status_code=_NO_CONTENT,
    dependencies=[Depends(require("events"))],
)
def reset(
    context: Context,
    user_id: UserId,
    controls: Annotated[bool, Query(description="lift all controls, too")] = False,
    memberships: Annotated[bool, Query(description="leave all communities, too")] = False,
) -> Response:
    """From the answer on, what the reader did until now counts for nothing, in every space.

    Posts that were hidden or reported by an event stay away, as controls `hide` that may be lifted.
    """
    moment = now_micros()
    committed(
        context.engine,
        lambda transaction: reset_reader(
            transaction, user_id, moment, controls=controls, memberships=memberships
        ),
    )
    context.answers.rankings.forget(user_id)
    context.relay.notify()
    return Response(status_code=_NO_CONTENT)


@router.delete(
    "",
    summary="Erase a user whose id contains a slash",
    status_code=HTTPStatus.ACCEPTED,
    dependencies=[Depends(require("admin"))],
)
def erase_by_query(
    context: Context,
    actor: Actor,
    user_id: Annotated[Id, Query(description="the reader")],
    posts: Annotated[OwnPosts, Query(description="what becomes of the reader's own posts")] = "delete",
) -> Response:
    return erase(context, actor, user_id, posts)


@router.delete(
    "/{user_id}",
    summary="Erase a user",
    status_code=HTTPStatus.ACCEPTED,
    dependencies=[Depends(require("admin"))],
)
def erase(
    context: Context,
    actor: Actor,
    user_id: UserId,
    posts: Annotated[OwnPosts, Query(description="what becomes of the reader's own posts")] = "delete",
) -> Response:
    """From the answer on they are unknown; what SQL has of them is gone within a second.

    A replay of the log does not bring it back; the log itself keeps its records for 30 days. The audit
    knows the reader by a keyed hash.
    """
    joining = context.joining

    def work(transaction: Connection) -> None:
        erase_user(transaction, joining, user_id, posts)
        put_audit(transaction, actor, "users.erase", hash_user(joining.secret, user_id), {"posts": posts})

    committed(context.engine, work)
    context.answers.rankings.forget(user_id)
    context.answers.states.forget(user_id)
    context.relay.notify()
    return Response(status_code=HTTPStatus.ACCEPTED)


def _control(context: Context, user_id: str, control: Control, target: str, *, active: bool) -> Response:
    committed(context.engine, lambda transaction: set_control(transaction, user_id, control, target, active))
    context.relay.notify()
    return Response(status_code=_NO_CONTENT)
