"""Data folders of synthetic communities: rows go straight into SQL, vectors into a run that is loaded.

A folder is kept for a day, for its posts are as old as it is and feeds show the posts of the last two days.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table

from benchmarks.feed import community, heavy_users
from benchmarks.feed.community import Pairs, Posts
from benchmarks.filtered_search import CACHE
from benchmarks.server import nearfeed
from nearfeed_backends.sql.database import open_database
from nearfeed_contracts import tables
from nearfeed_contracts.runs import Block, Manifest, write_manifest, write_vectors

FOLDER = CACHE / "feed"
SPACE = "synthetic"
USERS = [f"u{number}" for number in range(community.USERS)]
LOAD_SECONDS = 3_600
_DAY_SECONDS = 86_400
_MADE = "made.json"
_ROWS = 50_000
_MINUTE = 60_000_000  # microseconds
Row = Mapping[str, Any]


def demo(given: Path | None) -> Path:
    """The folder of `nearfeed demo`: the given one, or one that is made once."""
    folder = given or FOLDER / "demo"
    if not (folder / "runs").exists():
        subprocess.run(nearfeed("demo", "--no-serve", "--data-dir", str(folder)), check=True)
    return folder


def synthetic(posts: int, *, heavy: bool = False) -> Path:
    """The folder of a community, made where there is none of the last day."""
    folder = FOLDER / f"posts-{posts}{'-heavy' if heavy else ''}"
    if _age(folder) < _DAY_SECONDS:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    begun = time.time()
    command(folder, "migrate")
    made = community.make_posts(posts)
    engine = open_database(f"sqlite:///{folder.absolute()}/nearfeed.db")
    with engine.begin() as connection:
        fill(connection, made, now=int(begun * 1e6), heavy=heavy)
    engine.dispose()
    write_run(folder, made)
    command(folder, "load", SPACE, "--activate")
    (folder / _MADE).write_text(json.dumps({"at": begun, "seconds": time.time() - begun}))
    return folder


def fill(connection: Connection, posts: Posts, *, now: int, heavy: bool) -> None:
    """Posts, communities, and what users have read, joined and hidden; `now` in microseconds since 1970."""
    readings = community.make_readings(posts)
    put(connection, tables.communities, community_rows(now))
    put(connection, tables.items, post_rows(posts, now))
    put(connection, tables.interactions, reading_rows(readings, now))
    put(connection, tables.memberships, member_rows(community.make_memberships(readings, posts), now))
    if heavy:
        users = heavy_users.make_heavy_users(posts, community.USERS)
        put(connection, tables.interactions, reading_rows(users.readings, now))
        put(connection, tables.memberships, member_rows(users.memberships, now))
        put(connection, tables.reader_controls, hidden_rows(users.hidden, now))


def put(connection: Connection, table: Table, rows: Iterator[Row]) -> None:
    while part := list(islice(rows, _ROWS)):
        connection.execute(table.insert(), part)


def user(number: int) -> str:
    """The id of an ordinary user, or of one who has much of something."""
    names = tuple(heavy_users.NAMES)
    return f"u{number}" if number < community.USERS else names[number - community.USERS]


def community_rows(now: int) -> Iterator[Row]:
    for number in range(community.COMMUNITIES):
        yield {"community_id": f"c{number}", "created_at": now - community.POST_DAYS * 24 * 60 * _MINUTE}


def post_rows(posts: Posts, now: int) -> Iterator[Row]:
    for number, (topic, group, author, age) in enumerate(
        zip(*_lists(posts.topics, posts.communities, posts.authors, posts.ages), strict=True)
    ):
        yield {
            "item_id": str(number),
            "version": 1,
            "deleted": False,
            "community_id": f"c{group}",
            "author_id": f"a{author}",
            "title": f"Post {number} on topic {topic}",
            "body": f"What a user of community {group} has written about topic {topic}. " * 3,
            "tags": json.dumps([f"t{topic % 40}"]),
            "published_at": now - age * _MINUTE,
        }


def reading_rows(readings: Pairs, now: int) -> Iterator[Row]:
    for reader, post, age in _pairs(readings):
        at = now - age * _MINUTE
        yield {"user_id": user(reader), "item_id": str(post), "read_at": at, "newest_at": at}


def member_rows(memberships: Pairs, now: int) -> Iterator[Row]:
    for member, group, age in _pairs(memberships):
        yield {"user_id": user(member), "community_id": f"c{group}", "joined_at": now - age * _MINUTE}


def hidden_rows(hidden: Pairs, now: int) -> Iterator[Row]:
    for owner, post, age in _pairs(hidden):
        at = now - age * _MINUTE
        yield {"user_id": user(owner), "control": "hide", "target": str(post), "set_at": at}


def write_run(folder: Path, posts: Posts) -> None:
    url = f"{(folder.absolute() / 'runs').as_uri()}/{SPACE}"
    write_vectors(url, [str(number) for number in range(len(posts))], posts.vectors)
    block = Block(start=0, dim=community.DIM, pooling="mean")
    write_manifest(
        url,
        Manifest(space=SPACE, model=SPACE, dim=community.DIM, blocks=(block,), created_at=datetime.now(UTC)),
    )


def command(folder: Path, *words: str) -> None:
    """A command of `nearfeed` for a folder. Raises RuntimeError with what it says, or TimeoutExpired."""
    whole = nearfeed("--data-dir", str(folder), *words)
    done = subprocess.run(whole, capture_output=True, text=True, timeout=LOAD_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"nearfeed {' '.join(words)} failed: {done.stdout}{done.stderr}")


def _pairs(of: Pairs) -> Iterable[tuple[int, int, int]]:
    return zip(*_lists(of.users, of.targets, of.ages), strict=True)


def _lists(*columns: community.Numbers) -> Sequence[list[int]]:
    return [column.tolist() for column in columns]


def _age(folder: Path) -> float:
    """Seconds since the folder was made; infinite where it is not whole."""
    made = folder / _MADE
    return time.time() - json.loads(made.read_text())["at"] if made.exists() else float("inf")
