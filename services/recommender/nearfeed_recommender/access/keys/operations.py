"""What an operator may ask of the keys, as steps."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from pydantic import ValidationError
from sqlalchemy import Engine

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.fields import now_micros
from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender.access.keys.changing import create_key, revoke_keys, rotate_key
from nearfeed_recommender.access.keys.live import LiveKeys
from nearfeed_recommender.access.keys.rows import Key, WantedKey, keys_where
from nearfeed_runtime.operations import Listed, Operation, Said, Step, format_time
from nearfeed_runtime.sql import read_connection

_COLUMNS = ("key id", "name", "scopes", "a minute", "state", "created (UTC)", "expires (UTC)")
_ONCE = "It is told this once, and kept nowhere:"


class KeySpecificationError(NearfeedError):
    """A key that cannot be made so."""


def key_operations(engine: Engine, live: LiveKeys) -> dict[str, Operation]:
    """The operations by their names in the table of a process."""
    return {
        "keys.create": partial(create, engine, live),
        "keys.list": partial(list_keys, engine),
        "keys.rotate": partial(rotate, engine, live),
        "keys.revoke": partial(revoke, engine, live),
    }


def create(
    engine: Engine,
    live: LiveKeys,
    name: str,
    scopes: Sequence[str],
    actor: str,
    expires_days: float | None = None,
    per_minute: int | None = None,
) -> Iterator[Step]:
    """Makes a key and tells it. Raises KeySpecificationError and ConflictError."""
    expires_at = None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days)
    wanted = _wanted(name=name, scopes=list(scopes), per_minute=per_minute, expires_at=expires_at)
    new = create_key(engine, wanted, actor)
    live.refresh()
    yield Said(f"Key {name} holds, in every process within two seconds. {_ONCE}")
    yield Said(new.text)


def list_keys(engine: Engine) -> Iterator[Step]:
    """A table of all keys, oldest first; none shows its secret."""
    with read_connection(engine) as connection:
        found = keys_where(connection)
    yield Listed(_COLUMNS, tuple(map(_row, found)))


def rotate(engine: Engine, live: LiveKeys, named: str, actor: str, grace_hours: float = 24) -> Iterator[Step]:
    """Makes a new key beside the old one, which expires after the grace period."""
    new, old = rotate_key(engine, named, int(grace_hours * HOUR_MICROS), actor)
    live.refresh()
    yield Said(f"The new key {new.key.name} holds beside the old one, {old.key_id}. {_ONCE}")
    yield Said(new.text)
    yield Said(f"The old one expires at {format_time(old.expires_at)} UTC.")


def revoke(engine: Engine, live: LiveKeys, named: str, actor: str) -> Iterator[Step]:
    """Ends a key, or all of a name, in every process within two seconds."""
    ended = revoke_keys(engine, named, actor)
    live.refresh()
    for key in ended:
        yield Said(f"Key {key.name} ({key.key_id}) is revoked.")
    if not ended:
        yield Said(f"No key {named} was live.")


def _wanted(**fields: object) -> WantedKey:
    try:
        return WantedKey.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        fault = first["msg"].removeprefix("Value error, ")
        where = ".".join(map(str, first["loc"]))
        raise KeySpecificationError(f"The {where} of a key: {fault[:1].lower()}{fault[1:]}.") from None


def _row(key: Key) -> tuple[str, ...]:
    limit = "" if key.per_minute is None else str(key.per_minute)
    state = key.state(now_micros())
    times = (format_time(key.created_at), format_time(key.expires_at))
    return (key.key_id, key.name, " ".join(sorted(key.scopes)), limit, state, *times)
