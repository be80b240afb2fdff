"""Keys in SQL, and how a key is generated and hashed."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, Connection, Row, exists, or_, select

from nearfeed_contracts.errors import NotFoundError
from nearfeed_contracts.fields import IsoTime, Label, now_micros, to_micros
from nearfeed_contracts.tables import api_keys
from nearfeed_recommender.settings import Scope

_ID_BYTES = 6
_SECRET_BYTES = 32
_KEY = re.compile(rf"nf_([0-9a-f]{{{2 * _ID_BYTES}}})_([0-9a-f]{{{2 * _SECRET_BYTES}}})")


class MintedKey(NamedTuple):
    """A new key; `text` is told once and kept nowhere."""

    key_id: str
    key_hash: str
    text: str


def mint_key() -> MintedKey:
    key_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES)
    return MintedKey(key_id, hash_of(secret), f"nf_{key_id}_{secret}")


def hash_of(secret: str) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def split_key(text: str) -> tuple[str, str] | None:
    """Key id and secret; None for what has not the form of a key."""
    found = _KEY.fullmatch(text)
    return (found[1], found[2]) if found else None


def is_secret_of(secret: str, key_hash: str) -> bool:
    """In a time that tells nothing of the hash."""
    return hmac.compare_digest(hash_of(secret), key_hash)


LIVE, EXPIRED, REVOKED = "live", "expired", "revoked"


def _in_future(moment: datetime) -> datetime:
    if to_micros(moment) <= now_micros():
        raise ValueError("lies in the past")
    return moment


def _once(scopes: list[Scope]) -> list[Scope]:
    return sorted(set(scopes))


Expiry = Annotated[IsoTime, AfterValidator(_in_future)]
Scopes = Annotated[list[Scope], Field(min_length=1), AfterValidator(_once)]


class WantedKey(BaseModel):
    """What a key is to be: `per_minute` calls a minute at most (None: as the settings say)."""

    model_config = ConfigDict(extra="forbid")

    name: Label
    scopes: Scopes
    per_minute: int | None = Field(default=None, ge=1, le=1_000_000)
    expires_at: Expiry | None = None


@dataclass(frozen=True)
class Key:
    """A key without its secret. Times in microseconds since 1970."""

    key_id: str
    name: str
    key_hash: str
    scopes: frozenset[Scope]
    per_minute: int | None
    created_at: int
    expires_at: int | None
    revoked_at: int | None

    def state(self, now: int) -> str:
        if self.revoked_at is not None:
            return REVOKED
        return EXPIRED if self.expires_at is not None and self.expires_at <= now else LIVE


def keys_where(connection: Connection, *conditions: ColumnElement[bool]) -> list[Key]:
    """The keys that meet all conditions, oldest first."""
    query = select(api_keys).where(*conditions).order_by(api_keys.c.created_at, api_keys.c.key_id)
    return [_key(row) for row in connection.execute(query)]


def is_live(now: int) -> ColumnElement[bool]:
    """That a key is neither revoked nor expired."""
    expires_at = api_keys.c.expires_at
    return api_keys.c.revoked_at.is_(None) & or_(expires_at.is_(None), expires_at > now)


def has_keys(connection: Connection) -> bool:
    """Whether there ever was a key: once there was one, nobody may call without."""
    return bool(connection.scalar(select(exists(select(api_keys.c.key_id)))))


def has_live_keys(connection: Connection) -> bool:
    return bool(keys_where(connection, is_live(now_micros())))


def known_keys(connection: Connection, named: str, *, by_name: bool) -> list[Key]:
    """The key of an id, or else, if it may be a name, all of that, oldest first. Raises NotFoundError."""
    found = keys_where(connection, api_keys.c.key_id == named)
    if by_name and not found:
        found = keys_where(connection, api_keys.c.name == named)
    if not found:
        raise NotFoundError(f"There is no key {named!r}; `keys list` shows those that there are.")
    return found


def live_of(keys: Sequence[Key]) -> list[Key]:
    now = now_micros()
    return [key for key in keys if key.state(now) == LIVE]


def _key(row: Row[Any]) -> Key:
    return Key(**{**row._mapping, "scopes": frozenset(orjson.loads(row.scopes))})
