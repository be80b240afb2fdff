"""What a newcomer may try once the demo serves."""

import shlex
from typing import Any, NamedTuple

import orjson
from rich.console import Console
from sqlalchemy import Connection, Engine, Select, func, select

from nearfeed_contracts.tables import interactions, items, memberships
from nearfeed_runtime.sql import read_connection

_READINGS_OF_A_TYPICAL_READER = 100


class Example(NamedTuple):
    """A reader with some history, a well-known film that is new to them, and the best-known film."""

    user_id: str
    new_id: str
    new_title: str
    known_id: str
    known_title: str


def example_of(engine: Engine) -> Example:
    with read_connection(engine) as connection:
        reader = _typical_reader(connection)
        return Example(reader, *_new_to(connection, reader), *_best_known(connection))


def print_next_steps(engine: Engine, command: str, console: Console, url: str) -> None:
    """Prints where to look, and three curl lines; `command` is how Nearfeed is called for this folder."""
    example = example_of(engine)
    like = {"user_id": example.user_id, "item_id": example.new_id, "kind": "like"}
    tries = [
        (f"The feed of reader {example.user_id}", [f"{url}/v1/feed?user_id={example.user_id}&limit=5"]),
        (
            f"They like {example.new_title!r}; then ask for the feed again",
            [f"{url}/v1/events", "-H", "content-type: application/json", "-d", orjson.dumps(like).decode()],
        ),
        (
            f"Films similar to {example.known_title!r}",
            [f"{url}/v1/items/{example.known_id}/similar?limit=5"],
        ),
    ]
    lines = [f"Open {url}/ to look at it, {url}/docs for the API, and try:", ""]
    for text, arguments in tries:
        lines += [f"# {text}", shlex.join(["curl", *arguments]), ""]
    lines += [f"While this runs, `{command} spaces list` and the like ask it. Ctrl-C ends it."]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _typical_reader(connection: Connection) -> str:
    distance = func.abs(func.count() - _READINGS_OF_A_TYPICAL_READER)
    query = select(interactions.c.user_id).group_by(interactions.c.user_id)
    return str(connection.scalar(query.order_by(distance, interactions.c.user_id).limit(1)))


def _new_to(connection: Connection, user_id: str) -> tuple[str, str]:
    read = select(interactions.c.item_id).where(interactions.c.user_id == user_id)
    joined = select(memberships.c.community_id).where(memberships.c.user_id == user_id)
    query = _by_readers().where(items.c.item_id.not_in(read), items.c.community_id.in_(joined))
    return tuple(connection.execute(query.limit(1)).one())


def _best_known(connection: Connection) -> tuple[str, str]:
    return tuple(connection.execute(_by_readers().limit(1)).one())


def _by_readers() -> Select[Any]:
    """Films that are still there, the most read first."""
    readers = func.count(interactions.c.user_id)
    return (
        select(items.c.item_id, items.c.title)
        .join(interactions, interactions.c.item_id == items.c.item_id)
        .where(items.c.deleted.is_(False))
        .group_by(items.c.item_id, items.c.title)
        .order_by(readers.desc(), items.c.item_id)
    )
