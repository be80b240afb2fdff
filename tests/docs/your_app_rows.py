"""Rows for the app of docs/your-app.md: members who read two of its four boards."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, text

BOARDS = {
    "baking": ["bread", "yeast", "oven", "flour", "crust", "butter"],
    "cycling": ["gravel", "wheel", "climb", "saddle", "tyre", "chain"],
    "gardens": ["tomato", "compost", "seedling", "pruning", "frost", "roses"],
    "chess": ["opening", "endgame", "gambit", "knight", "blunder", "clock"],
}
POSTS, MEMBERS, READ = 80, 40, 14
_START = datetime(2025, 1, 1, tzinfo=UTC)


def at(hours: float) -> datetime:
    """A time of the app, as its DATETIME columns keep it."""
    return (_START + timedelta(hours=hours)).replace(tzinfo=None)


def fill(connection: Connection) -> None:
    """Posts 1 to 80, of which 80 is deleted; members 1 to 40."""
    draw = random.Random(0)
    boards = [{"id": number, "name": name} for number, name in enumerate(BOARDS, 1)]
    connection.execute(text("INSERT INTO boards VALUES (:id, :name)"), boards)
    posts = [_post(number, draw) for number in range(1, POSTS + 1)]
    connection.execute(
        text(
            "INSERT INTO posts (id, board_id, member_id, headline, content, labels, created_at, deleted_at) "
            "VALUES (:id, :board_id, :member_id, :headline, :content, :labels, :created_at, :deleted_at)"
        ),
        posts,
    )
    for member in range(1, MEMBERS + 1):
        _add_member(connection, member, posts, draw)


def _post(number: int, draw: random.Random) -> dict[str, Any]:
    board_id = (number - 1) % len(BOARDS) + 1
    words = list(BOARDS.values())[board_id - 1]
    picked = draw.sample(words, 3)
    return {
        "id": number,
        "board_id": board_id,
        "member_id": draw.randint(1, MEMBERS),
        "headline": f"About {picked[0]} and {picked[1]}, part {number}",
        "content": f"What I have learned about {picked[2]}.",
        "labels": orjson.dumps(picked).decode(),
        "created_at": at(number),
        "deleted_at": at(5_000) if number == POSTS else None,
    }


def _add_member(
    connection: Connection, member: int, posts: list[dict[str, Any]], draw: random.Random
) -> None:
    mine = draw.sample(range(1, len(BOARDS) + 1), 2)
    joined = [{"m": member, "b": board, "at": at(0)} for board in mine]
    connection.execute(text("INSERT INTO board_members VALUES (:m, :b, :at)"), joined)
    theirs = [post["id"] for post in posts if post["board_id"] == mine[0] and not post["deleted_at"]]
    for post in draw.sample(theirs, READ):
        moment = at(200 + draw.random() * 4_000)
        row = {
            "m": member,
            "p": post,
            "at": moment,
            "ms": int(moment.replace(tzinfo=UTC).timestamp() * 1_000),
        }
        connection.execute(text("INSERT INTO views VALUES (:m, :p, 60, :ms)"), row)
        if draw.random() < 0.3:
            connection.execute(text("INSERT INTO reactions VALUES (NULL, :p, :m, 1, :at)"), row)
        if draw.random() < 0.1:
            connection.execute(text("INSERT INTO comments VALUES (NULL, :p, :m, 'Well said.', :at)"), row)
