"""Spaces as an operator looks at them: the list, the map, and a reader's feed in each."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel
from sqlalchemy import select

from nearfeed_contracts.fields import MAX_LIMIT, Id, from_micros
from nearfeed_contracts.runs import Manifest
from nearfeed_contracts.tables import reader_builds, spaces
from nearfeed_recommender.catalog.spaces import active_space_of, require_space
from nearfeed_recommender.http.access import Context, require
from nearfeed_recommender.http.feed import FeedItemOut, json_response
from nearfeed_recommender.serving.response import encode_object
from nearfeed_recommender.space_maps.files import SpaceMap, mapped_spaces, read_map, write_map
from nearfeed_recommender.space_maps.maps import labels_by_id, make_map, reader_place
from nearfeed_recommender.users.profiles import load_profile
from nearfeed_runtime.sql import read_connection

router = APIRouter(prefix="/v1/admin/spaces", tags=["admin"], dependencies=[Depends(require("admin"))])
Space = Annotated[Id, Query(description="a space")]
UserId = Annotated[Id, Query(description="the reader")]


class SpaceOut(BaseModel):
    """A space with what its run says of itself; `readers` is how many were built at its load, null before."""

    space: str
    state: str
    active: bool
    model: str
    dim: int
    rows: dict[str, int]
    readers: int | None
    metrics: dict[str, Any]
    created_at: datetime
    activated_at: datetime | None


class SpacesOut(BaseModel):
    """All spaces, newest first."""

    spaces: list[SpaceOut]


class MapsOut(BaseModel):
    """The spaces of which a map was made."""

    spaces: list[str]


class PointOut(BaseModel):
    """A post's place on the map; `community` is an index into the map's communities."""

    id: str
    title: str
    x: float
    y: float
    community: int


class MapOut(BaseModel):
    """The map of a space: `shares` of the variance by axis, and those of its posts that still stand.

    `posts` is how many the space had when the map was made.
    """

    space: str
    made_at: datetime
    posts: int
    shares: tuple[float, float]
    communities: list[str]
    points: list[PointOut]


class ReadPointOut(BaseModel):
    """Where something that the reader read lies, with its weight."""

    id: str
    x: float
    y: float
    weight: float


class ReaderPlaceOut(BaseModel):
    """Where the reader stands: the weighted mean of the places of what they read; null without any."""

    x: float | None
    y: float | None
    readings: list[ReadPointOut]


class PreviewOut(BaseModel):
    """What the reader's feed would show first if the space were active."""

    space: str
    active: bool
    items: list[FeedItemOut]


@router.get("", summary="All spaces")
def get_spaces(context: Context) -> SpacesOut:
    with read_connection(context.engine) as connection:
        active = active_space_of(connection)
        built = {row.space: row.readers for row in connection.execute(select(reader_builds))}
        rows = connection.execute(select(spaces).order_by(spaces.c.created_at.desc())).all()
    return SpacesOut(spaces=[_space_out(row, active, built.get(row.space)) for row in rows])


@router.get("/maps", summary="List the maps of spaces")
def get_maps(context: Context) -> MapsOut:
    with read_connection(context.engine) as connection:
        known = set(connection.scalars(select(spaces.c.space)))
    return MapsOut(spaces=[space for space in mapped_spaces(context.settings.runs_url) if space in known])


@router.get("/map", summary="The map of a space")
def get_map(context: Context, space: Space) -> MapOut:
    """Posts that were taken down since the map was made are not on it."""
    with read_connection(context.engine) as connection:
        require_space(connection, space)
    return _map_out(context, read_map(context.settings.runs_url, space))


@router.post("/map", summary="Compute the map of a space", status_code=HTTPStatus.CREATED)
def post_map(context: Context, space: Space) -> MapOut:
    """As the command `nearfeed map`; of a space with many posts a sample is drawn."""
    with read_connection(context.engine) as connection:
        made = make_map(connection, space)
    write_map(context.settings.runs_url, made)
    return _map_out(context, made)


@router.get("/map/reader", summary="Position of a user on the map of a space")
def get_reader_place(context: Context, space: Space, user_id: UserId) -> ReaderPlaceOut:
    pooling = context.pooling
    with read_connection(context.engine) as connection:
        require_space(connection, space)
        profile = load_profile(connection, pooling, space, user_id)
    found = reader_place(read_map(context.settings.runs_url, space), profile)
    if found is None:
        return ReaderPlaceOut(x=None, y=None, readings=[])
    readings = [
        ReadPointOut(id=item_id, x=x, y=y, weight=weight) for item_id, weight, (x, y) in found.readings
    ]
    return ReaderPlaceOut(x=found.place[0], y=found.place[1], readings=readings)


@router.get("/feed", summary="The feed of a user in a space", response_model=PreviewOut)
def get_preview(
    context: Context, space: Space, user_id: UserId, limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 20
) -> Response:
    """Looked at before the space is activated; it is not noted as served."""
    items = context.answers.preview.items(user_id, space, limit)
    with read_connection(context.engine) as connection:
        active = active_space_of(connection) == space
    return json_response(encode_object({"space": space, "active": active}, "items", items))


def _space_out(row: Any, active: str | None, readers: int | None) -> SpaceOut:
    manifest = Manifest.model_validate_json(row.manifest)
    return SpaceOut(
        space=row.space,
        state=row.state,
        active=row.space == active,
        model=manifest.model,
        dim=manifest.dim,
        rows=manifest.rows,
        readers=readers,
        metrics=manifest.metrics,
        created_at=from_micros(row.created_at),
        activated_at=from_micros(row.activated_at) if row.activated_at else None,
    )


def _map_out(context: Context, made: SpaceMap) -> MapOut:
    with read_connection(context.engine) as connection:
        labels = labels_by_id(connection, made.item_ids)
    communities = sorted({label.community_id for label in labels.values()})
    number = {community: index for index, community in enumerate(communities)}
    points = [
        PointOut(id=item_id, title=label.title, x=x, y=y, community=number[label.community_id])
        for item_id, (x, y) in zip(made.item_ids, made.places, strict=True)
        if (label := labels.get(item_id))
    ]
    return MapOut(
        space=made.space,
        made_at=from_micros(made.made_at),
        posts=made.posts,
        shares=made.shares,
        communities=communities,
        points=points,
    )
