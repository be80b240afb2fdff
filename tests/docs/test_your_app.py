"""docs/your-app.md is walked through as it stands: its schema, its maps, its commands and its messages."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import kafka
import orjson
import pytest
from benchmarks.server import free_port, wait_ready
from sqlalchemy import Engine, create_engine, func, select, text
from tests.docs.your_app_rows import BOARDS, MEMBERS, POSTS, READ, at, fill

from nearfeed_backends.kafka.settings import read_url
from nearfeed_backends.opening import open_log
from nearfeed_contracts.event_log import EventLog, Record
from nearfeed_contracts.tables import interactions, items, memberships
from nearfeed_recommender.ingest.topic_map import read_topic_map
from nearfeed_standalone.importing.database_map import read_database_map
from servers import fresh_database, kafka_url

DOCUMENT = (Path(__file__).parents[2] / "docs" / "your-app.md").read_text()
SECONDS = 300.0
SMALL = {
    "NEARFEED_TEXT_EPOCHS": "0",
    "NEARFEED_EPOCHS": "4",
    "NEARFEED_DIM": "16",
    "NEARFEED_LOG_LEVEL": "WARNING",
    "DGLBACKEND": "pytorch",
}


def blocks(info: str) -> list[str]:
    """The document's blocks of code with this info string."""
    found = re.findall(rf"^```{re.escape(info)}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert found, f"docs/your-app.md has no block {info}"
    return found


def test_both_maps_of_the_document_are_right(tmp_path: Path) -> None:
    for name in ("map.yaml", "topics.yaml"):
        (tmp_path / name).write_text(blocks(f"yaml {name}")[0])
    kinds = [place.path for place, _ in read_database_map(tmp_path / "map.yaml")]
    assert kinds == ["items", "deletions", "memberships", *(f"interactions[{n}]" for n in range(3))]
    assert read_topic_map(tmp_path / "topics.yaml").topics == ["community.activity", "community.posts"]


@dataclass(frozen=True)
class Walk:
    """The reader of the document, with an app and servers to try it on."""

    folder: Path
    app: Engine
    nearfeed: Engine
    log: EventLog
    prefix: str
    port: int
    urls: dict[str, str]

    def here(self, written: str) -> str:
        """What the document writes, for the servers of this test."""
        for theirs, ours in self.urls.items():
            written = written.replace(theirs, ours)
        return written

    def run(self, *commands: str) -> str:
        done = subprocess.run(
            ["bash", "-euc", self.here("\n".join(commands))],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        scripts = str(Path(sys.executable).parent)
        path = f"{scripts}:{os.environ['PATH']}"
        return {**os.environ, **SMALL, "PATH": path, "NEARFEED_PORT": str(self.port)}

    def say(self, topic: str, number: int) -> dict[str, Any]:
        """Sends a message of the document, as the app would."""
        body = blocks(f"json {topic}")[number].strip().encode()
        self.log.append([Record(self.here(topic), "", body)])
        return dict(orjson.loads(body))


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    prefix = f"t{uuid.uuid4().hex}."
    with fresh_database() as app_url, fresh_database() as own_url, own_topics(prefix) as log:
        port = free_port()
        urls = {
            "mysql+mysqlconnector://reader:SECRET@db.internal/community": app_url,
            "mysql+mysqlconnector://nearfeed:SECRET@db.internal/nearfeed": own_url,
            "kafka://kafka.internal:9092?prefix=nearfeed.": kafka_url(prefix=f"{prefix}nearfeed."),
            "community.": f"{prefix}community.",
            "127.0.0.1:8080": f"127.0.0.1:{port}",
            "nearfeed train": "nearfeed train --force",
        }
        engines = create_engine(app_url), create_engine(own_url)
        yield Walk(tmp_path, *engines, log, prefix, port, urls)
        for engine in engines:
            engine.dispose()


@contextmanager
def own_topics(prefix: str) -> Iterator[EventLog]:
    """A log for the app; its topics, and those of Nearfeed, are deleted afterwards."""
    with closing(open_log(kafka_url())) as log:
        yield log
    with closing(kafka.KafkaAdminClient(bootstrap_servers=list(read_url(kafka_url()).servers))) as admin:
        admin.delete_topics([topic for topic in admin.list_topics() if topic.startswith(prefix)])


def eventually(holds: Callable[[], Any]) -> None:
    """Waits until something holds; the limit is there to end a test that fails."""
    give_up = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < give_up, "it did not come to hold"
        time.sleep(0.1)


def count(engine: Engine, table: Any, *conditions: Any) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(select(func.count()).select_from(table).where(*conditions)) or 0)


@contextmanager
def serving(walk: Walk) -> Iterator[httpx.Client]:
    """`nearfeed serve` as the document starts it."""
    command = walk.here("\n".join([*blocks("sh settings"), "exec env " + blocks("sh serve")[0]]))
    with (walk.folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-euc", command], cwd=walk.folder, env=walk.environment, stdout=log, stderr=log
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{walk.port}", timeout=30, trust_env=False) as client:
            wait_ready(client, process)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, (walk.folder / "serve.log").read_text()


def feed_of(client: httpx.Client, member: int) -> list[str]:
    answer = client.get("/v1/feed", params={"user_id": str(member), "limit": 100})
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def read_by(client: httpx.Client, member: int) -> list[str]:
    return [reading["item_id"] for reading in client.get(f"/v1/users/{member}/vector").json()["readings"]]


@pytest.mark.server
@pytest.mark.slow
def test_the_document_from_the_schema_to_the_feed(walk: Walk) -> None:
    with walk.app.begin() as connection:
        for statement in blocks("sql")[0].split(";\n"):
            if statement.strip():
                connection.execute(text(statement))
        fill(connection)
    for name in ("map.yaml", "topics.yaml"):
        (walk.folder / name).write_text(walk.here(blocks(f"yaml {name}")[0]))
    walk.log.append([Record(walk.here(f"community.{name}"), "", b"{}") for name in ("posts", "activity")])

    told = walk.run(*blocks("sh settings"), *blocks("sh import"))
    assert f"map.yaml: items: {POSTS - 1} items taken in." in told
    assert "refused" not in told
    assert count(walk.nearfeed, items) == POSTS - 1
    assert count(walk.nearfeed, memberships) == 2 * MEMBERS
    with walk.app.connect() as connection:
        pairs = connection.scalar(text("SELECT count(*) FROM views"))
    assert count(walk.nearfeed, interactions) == pairs, (
        "every reaction and comment is on a post that was viewed"
    )

    with serving(walk) as client:
        answers = walk.run(*(f"{line} -sSf -w '\\n'" for line in blocks("sh ask")[0].splitlines()))
        feed, vector, similar = map(orjson.loads, answers.splitlines())
        assert [item["source"] for item in feed["items"]] == ["personal"] * 5
        assert len(vector["readings"]) == READ
        assert len(similar["items"]) == 5
        _one_day(walk, client)
        _one_night(walk, client)


def _one_day(walk: Walk, client: httpx.Client) -> None:
    """What the app tells its topics is in the feed."""
    member = 7
    before = client.get(f"/v1/users/{member}/vector").json()["vector"]
    post = walk.say("community.posts", 0)["post"]
    for board in range(1, len(BOARDS) + 1):
        kind = "board_joined" if board == post["board"] else "board_left"
        walk.log.append([_activity(walk, type=kind, member=member, board=board, at=1_767_225_500_000)])
    walk.log.append([_activity(walk, type="post_liked", post=1), _activity(walk, type="board_waved")])
    mine = memberships.c.user_id == str(member)
    eventually(lambda: count(walk.nearfeed, memberships, mine) == 1)
    eventually(lambda: str(post["id"]) in feed_of(client, member))
    walk.say("community.activity", 0)
    eventually(lambda: str(post["id"]) in read_by(client, member))
    assert client.get(f"/v1/users/{member}/vector").json()["vector"] != before
    assert str(post["id"]) not in feed_of(client, member)
    other = next(n for n in range(1, MEMBERS + 1) if n != member and str(post["id"]) in feed_of(client, n))
    walk.say("community.posts", 1)
    eventually(lambda: str(post["id"]) not in feed_of(client, other))
    assert client.get(f"/v1/items/{post['id']}").status_code == 404
    (dead,) = _dead_letters(walk)
    assert dead["reason"] == "interactions[0].user_id: member is missing or empty"


def _activity(walk: Walk, **body: Any) -> Record:
    return Record(walk.here("community.activity"), "", orjson.dumps(body))


def _dead_letters(walk: Walk) -> list[dict[str, Any]]:
    subscription = walk.log.subscribe(
        [walk.here("community.activity.dead")], f"{walk.prefix}test", lambda _: 0
    )
    found: list[dict[str, Any]] = []

    def poll() -> list[dict[str, Any]]:
        letters = [message.value for message in subscription.poll(10, 1.0)]
        found.extend(orjson.loads(letter) for letter in letters if letter)
        return found

    eventually(poll)
    subscription.close()
    return found


def _one_night(walk: Walk, client: httpx.Client) -> None:
    """What changes in the app's tables is taken in by the same command, beside the server."""
    with walk.app.begin() as connection:
        connection.execute(text("UPDATE posts SET headline = 'Mended' WHERE id = 2"))
        connection.execute(text("UPDATE posts SET deleted_at = :at WHERE id = 3"), {"at": at(5_001)})
        connection.execute(
            text("REPLACE INTO views VALUES (7, 4, 30, 1767225700000), (8, 4, 2, 1767225700000)")
        )
    told = walk.run(*blocks("sh settings"), blocks("sh import")[0].splitlines()[0])
    assert "map.yaml: deletions: " in told
    assert client.get("/v1/items/2").json()["title"] == "Mended"
    assert client.get("/v1/items/3").status_code == 404
    eventually(lambda: "4" in read_by(client, 7))
