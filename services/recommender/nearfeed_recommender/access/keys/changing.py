"""Makes, rotates and revokes keys, each in one transaction with its line in the audit."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Engine, insert, select, update

from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.fields import from_micros, now_micros, to_micros
from nearfeed_contracts.tables import api_keys
from nearfeed_recommender.access.keys.rows import (
    Key,
    MintedKey,
    WantedKey,
    is_live,
    known_keys,
    live_of,
    mint_key,
)
from nearfeed_runtime.auditing import put_audit
from nearfeed_runtime.changes import lock_changes
from nearfeed_runtime.sql import committed


class NewKey(NamedTuple):
    """A key that was just made, with its text, which is told this once."""

    key: Key
    text: str


class Rotated(NamedTuple):
    """A new key, and the one beside it, which expires."""

    new: NewKey
    old: Key


def create_key(engine: Engine, wanted: WantedKey, actor: str) -> NewKey:
    """Makes a key. Raises ConflictError where a live key has the name."""
    minted = mint_key()
    key = _made(wanted, minted)

    def work(transaction: Connection) -> None:
        _wait_for_others(transaction)
        if _is_there(transaction, key):
            return
        _refuse_name_in_use(transaction, key.name)
        _insert(transaction, key)
        put_audit(transaction, actor, "keys.create", key.name, _audit_detail(key))

    committed(engine, work)
    return NewKey(key, minted.text)


def rotate_key(engine: Engine, named: str, grace_micros: int, actor: str, *, by_name: bool = True) -> Rotated:
    """Makes a key like the newest live one of an id, or `by_name`, which expires after the grace period.

    The new one lives as long as the old one was to live. Raises NotFoundError, and ConflictError where
    none is live.
    """
    minted, now = mint_key(), now_micros()
    made: list[Rotated] = []

    def work(transaction: Connection) -> Rotated:
        _wait_for_others(transaction)
        if made and _is_there(transaction, made[-1].new.key):
            return made[-1]
        live = live_of(known_keys(transaction, named, by_name=by_name))
        if not live:
            raise ConflictError(f"The key {named!r} is revoked or has expired; create a new one.")
        made.append(_rotated(live[-1], minted, now, grace_micros))
        _put_rotated(transaction, made[-1], actor)
        return made[-1]

    return committed(engine, work)


def revoke_keys(engine: Engine, named: str, actor: str, *, by_name: bool = True) -> list[Key]:
    """Ends the key of an id, or all `by_name`, at once, and returns those that held. Raises NotFoundError."""

    def work(transaction: Connection) -> list[Key]:
        _wait_for_others(transaction)
        live = live_of(known_keys(transaction, named, by_name=by_name))
        for key in live:
            _set(transaction, key, revoked_at=now_micros())
            put_audit(transaction, actor, "keys.revoke", key.name, {"key_id": key.key_id})
        return live

    return committed(engine, work)


def _rotated(old: Key, minted: MintedKey, now: int, grace_micros: int) -> Rotated:
    lifetime = None if old.expires_at is None else old.expires_at - old.created_at
    new = replace(
        old,
        key_id=minted.key_id,
        key_hash=minted.key_hash,
        created_at=now,
        expires_at=None if lifetime is None else now + lifetime,
    )
    ends = now + grace_micros
    ending = replace(old, expires_at=ends if old.expires_at is None else min(old.expires_at, ends))
    return Rotated(NewKey(new, minted.text), ending)


def _put_rotated(transaction: Connection, rotated: Rotated, actor: str) -> None:
    new, old = rotated.new.key, rotated.old
    _insert(transaction, new)
    _set(transaction, old, expires_at=old.expires_at)
    put_audit(transaction, actor, "keys.rotate", new.name, {**_audit_detail(new), "replaces": old.key_id})


def _made(wanted: WantedKey, minted: MintedKey) -> Key:
    return Key(
        key_id=minted.key_id,
        name=wanted.name,
        key_hash=minted.key_hash,
        scopes=frozenset(wanted.scopes),
        per_minute=wanted.per_minute,
        created_at=now_micros(),
        expires_at=to_micros(wanted.expires_at) if wanted.expires_at else None,
        revoked_at=None,
    )


def _is_there(transaction: Connection, key: Key) -> bool:
    """The same work once more, after a commit whose answer was lost."""
    query = select(api_keys.c.key_id).where(api_keys.c.key_id == key.key_id)
    return transaction.scalar(query) is not None


def _wait_for_others(transaction: Connection) -> None:
    """One change of keys at a time: what is read after it is what the others have left."""
    lock_changes(transaction, "api_keys")


def _refuse_name_in_use(transaction: Connection, name: str) -> None:
    in_use = select(api_keys.c.key_id).where(api_keys.c.name == name, is_live(now_micros()))
    if transaction.scalar(in_use.limit(1)) is not None:
        raise ConflictError(f"A key {name!r} is live; rotate it, revoke it, or choose another name.")


def _insert(transaction: Connection, key: Key) -> None:
    row = {**vars(key), "scopes": orjson.dumps(sorted(key.scopes)).decode()}
    transaction.execute(insert(api_keys).values(**row))


def _set(transaction: Connection, key: Key, **values: int | None) -> None:
    transaction.execute(update(api_keys).where(api_keys.c.key_id == key.key_id).values(**values))


def _audit_detail(key: Key) -> dict[str, Any]:
    """What the audit keeps of a new key."""
    expires_at = None if key.expires_at is None else from_micros(key.expires_at).isoformat()
    scopes: Sequence[str] = sorted(key.scopes)
    told = {"key_id": key.key_id, "scopes": scopes}
    return {**told, "per_minute": key.per_minute, "expires_at": expires_at}
