"""The floor: what the framework takes to answer twenty cached posts with one point read in SQLite.

    python -m benchmarks.feed.floor PORT FOLDER

`/threads` is served from the thread pool, as the product's routes are, `/loop` from the event loop.
"""

import sqlite3
import sys
import threading
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Annotated

import orjson
import uvicorn
from fastapi import FastAPI, Query, Response

USERS, POSTS = 1_000, 500
UserId = Annotated[str, Query(max_length=128)]
Limit = Annotated[int, Query(ge=1, le=100)]


def main() -> None:
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    config = uvicorn.Config(
        make_app(folder / "floor.db"), "127.0.0.1", port, log_level="warning", access_log=False
    )
    uvicorn.Server(config).run()


def make_app(file: Path) -> FastAPI:
    """An app on a database that it makes."""
    with sqlite3.connect(file) as made:
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("CREATE TABLE revisions (user_id TEXT PRIMARY KEY, revision INTEGER)")
        made.executemany("INSERT INTO revisions VALUES (?, ?)", [(str(n), n) for n in range(USERS)])
    local = threading.local()
    encoded = [orjson.dumps(post(number)) for number in range(POSTS)]
    turns = count()

    def answer(user_id: str, limit: int) -> Response:
        connection: sqlite3.Connection | None = getattr(local, "connection", None)
        if connection is None:
            connection = local.connection = sqlite3.connect(file)
        found = connection.execute("SELECT revision FROM revisions WHERE user_id = ?", (user_id,)).fetchone()
        first = next(turns) % (POSTS - limit)
        body = b'{"request_id":"floor","space":"%d","degraded":false,"items":[%b]}' % (
            found[0] if found else 0,
            b",".join(encoded[first : first + limit]),
        )
        return Response(body, media_type="application/json")

    app = FastAPI()

    @app.get("/readyz")
    def ready() -> str:
        return "ready"

    @app.get("/threads")
    def by_thread(user_id: UserId, limit: Limit = 20) -> Response:
        return answer(user_id, limit)

    @app.get("/loop")
    async def by_loop(user_id: UserId, limit: Limit = 20) -> Response:
        return answer(user_id, limit)

    return app


def post(number: int) -> dict[str, object]:
    """A post as a feed shows it, about 400 bytes of JSON."""
    return {
        "id": str(number),
        "community_id": "Action",
        "author_id": "films-of-1983",
        "title": f"Star Wars: Episode VI {number}",
        "body": "",
        "tags": ["Action", "Adventure", "Sci-Fi"],
        "language": None,
        "url": None,
        "published_at": datetime(2026, 1, 1, tzinfo=UTC),
        "score": 0.83,
        "source": "personal",
        "reason": {"kind": "close_to_read", "text": "Because you read Star Wars", "item_id": "1196"},
        "explain": None,
    }


if __name__ == "__main__":
    main()
