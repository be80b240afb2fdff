"""/v1/admin/keys: make, list, rotate and revoke the keys of the API."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from nearfeed_contracts.fields import Id, from_micros, now_micros
from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender.access.keys.changing import NewKey, create_key, revoke_keys, rotate_key
from nearfeed_recommender.access.keys.rows import Key, WantedKey, keys_where
from nearfeed_recommender.http.access import Actor, Context, require
from nearfeed_recommender.settings import Scope
from nearfeed_runtime.sql import read_connection

router = APIRouter(prefix="/v1/admin/keys", tags=["access"], dependencies=[Depends(require("admin"))])
KeyId = Annotated[Id, Path(description="id of a key")]


class KeyOut(BaseModel):
    """A key without its secret; `state` is live, expired or revoked."""

    key_id: str
    name: str
    scopes: list[Scope]
    per_minute: int | None
    state: str
    created_at: datetime
    expires_at: datetime | None


class KeysOut(BaseModel):
    """All keys, oldest first."""

    keys: list[KeyOut]


class NewKeyOut(KeyOut):
    """A new key with its text, which is told this once and kept nowhere."""

    key: str


class RotatedOut(NewKeyOut):
    """A new key, and the one beside it, which goes on to hold until it expires."""

    replaces: KeyOut


class RotateIn(BaseModel):
    """For how long the old key goes on to hold."""

    model_config = ConfigDict(extra="forbid")

    grace_hours: float = Field(default=24, ge=0, le=8_760, allow_inf_nan=False)


@router.get("", summary="All keys")
def get_keys(context: Context) -> KeysOut:
    with read_connection(context.engine) as connection:
        found = keys_where(connection)
    return KeysOut(keys=[KeyOut(**_fields(key)) for key in found])


@router.post("", summary="Create a key", status_code=HTTPStatus.CREATED)
def post_key(context: Context, actor: Actor, wanted: WantedKey) -> NewKeyOut:
    """It holds in this process from the answer on, in every other within two seconds."""
    new = create_key(context.engine, wanted, actor)
    context.access.keys.refresh()
    return NewKeyOut(**_new_fields(new))


@router.post("/{key_id}/rotate", summary="Rotate a key", status_code=HTTPStatus.CREATED)
def post_rotation(context: Context, actor: Actor, key_id: KeyId, wanted: RotateIn) -> RotatedOut:
    """The new one may do the same, and lives as long as the old one was to live."""
    grace = int(wanted.grace_hours * HOUR_MICROS)
    new, old = rotate_key(context.engine, key_id, grace, actor, by_name=False)
    context.access.keys.refresh()
    return RotatedOut(**_new_fields(new), replaces=KeyOut(**_fields(old)))


@router.delete("/{key_id}", summary="Revoke a key", status_code=HTTPStatus.NO_CONTENT)
def delete_key(context: Context, actor: Actor, key_id: KeyId) -> Response:
    """It ends in this process with the answer, in every other within two seconds."""
    revoke_keys(context.engine, key_id, actor, by_name=False)
    context.access.keys.refresh()
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _new_fields(new: NewKey) -> dict[str, object]:
    return {**_fields(new.key), "key": new.text}


def _fields(key: Key) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "per_minute": key.per_minute,
        "state": key.state(now_micros()),
        "created_at": from_micros(key.created_at),
        "expires_at": None if key.expires_at is None else from_micros(key.expires_at),
    }
