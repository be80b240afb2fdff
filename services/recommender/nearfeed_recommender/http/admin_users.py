"""Readers as an operator sees them: who there is, and what is near one."""

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from nearfeed_contracts.fields import MAX_ID, MAX_LIMIT, Id
from nearfeed_contracts.vector_store import Filter
from nearfeed_recommender.catalog.posts import posts_by_id
from nearfeed_recommender.catalog.spaces import active_space_of
from nearfeed_recommender.http.access import Context, require
from nearfeed_recommender.http.feed import PostOut
from nearfeed_recommender.users.memberships import controls_of
from nearfeed_recommender.users.profiles import load_profile
from nearfeed_recommender.users.search import find_readers, nearest_readers, topics_of
from nearfeed_recommender.users.user_vectors import live_spaces
from nearfeed_runtime.sql import read_connection

router = APIRouter(prefix="/v1/admin/readers", tags=["admin"], dependencies=[Depends(require("admin"))])
_MOST_TOPICS = 30
_SPARE = 50
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]


class ReaderOut(BaseModel):
    """A reader with how many posts they have met and how many communities they have joined."""

    user_id: str
    posts: int
    communities: int


class ReadersOut(BaseModel):
    """Readers by id."""

    readers: list[ReaderOut]


class NearPostOut(PostOut):
    """A post with its inner product with the reader's vector; `met` where they have met it before."""

    score: float
    met: bool


class NearReaderOut(BaseModel):
    """A reader with the cosine of their vector."""

    user_id: str
    cosine: float


class TopicOut(BaseModel):
    """A tag of what the reader read, with its share of their readings' weight."""

    tag: str
    share: float
    muted: bool


class AroundOut(BaseModel):
    """What is near a reader in the active space.

    `compared` says among how many readers, drawn by chance where those with a vector (`comparable`) are more.
    """

    space: str | None
    posts: list[NearPostOut]
    readers: list[NearReaderOut]
    compared: int
    comparable: int
    topics: list[TopicOut]


@router.get("", summary="Find users by id prefix")
def get_readers(
    context: Context,
    prefix: Annotated[str, Query(max_length=MAX_ID)] = "",
    limit: Limit = 20,
) -> ReadersOut:
    with read_connection(context.engine) as connection:
        found = find_readers(connection, prefix, limit)
    return ReadersOut(readers=[ReaderOut(**vars(reader)) for reader in found])


@router.get("/around", summary="Posts, users and topics close to a user")
def get_around(
    context: Context, user_id: Annotated[Id, Query(description="the reader")], limit: Limit = 10
) -> AroundOut:
    """Near posts are found whatever the reader may see or has read; readers by their stored vectors."""
    pooling = context.pooling
    with read_connection(context.engine) as connection:
        space = active_space_of(connection)
        if space is None:
            return AroundOut(space=None, posts=[], readers=[], compared=0, comparable=0, topics=[])
        profile = load_profile(connection, pooling, space, user_id)
        vector = profile.vector(live_spaces(connection)[space])
        topics = topics_of(profile, posts_by_id(connection, profile.item_ids))
        muted = controls_of(connection, user_id).tags
        total = sum(topic.weight for topic in topics) or 1.0
        answer = AroundOut(space=space, posts=[], readers=[], compared=0, comparable=0, topics=[])
        answer.topics = [
            TopicOut(tag=topic.tag, share=topic.weight / total, muted=topic.tag in muted)
            for topic in topics[:_MOST_TOPICS]
        ]
        if vector is None:
            return answer
        near = nearest_readers(connection, space, user_id, vector, limit)
    answer.readers = [NearReaderOut(user_id=other, cosine=cosine) for other, cosine in near.closest]
    answer.compared, answer.comparable = near.compared, near.comparable
    answer.posts = _near_posts(context, space, vector, frozenset(profile.item_ids), limit)
    return answer


def _near_posts(
    context: Context, space: str, vector: np.ndarray, met: frozenset[str], limit: int
) -> list[NearPostOut]:
    """Without those that were taken down and are still in the store."""
    tower = context.answers.models.tower_of(space)
    query = tower.query(vector) if tower else vector
    hits = context.answers.breaker.ask(lambda: context.store.search(space, query, limit + _SPARE, Filter()))
    with read_connection(context.engine) as connection:
        posts = posts_by_id(connection, [hit.item_id for hit in hits])
    return [
        NearPostOut(**vars(posts[hit.item_id]), score=hit.score, met=hit.item_id in met)
        for hit in hits
        if hit.item_id in posts
    ][:limit]
