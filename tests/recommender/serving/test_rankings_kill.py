"""The API is killed with SIGKILL: a cursor gets the page that it promised or 410, and no post again."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from tests.recommender.exposure_log.test_exposure_log_kill import SECRET, api, ask

from nearfeed_backends.opening import open_database
from nearfeed_contracts.tables import feed_pages
from nearfeed_recommender.app.bootstrap import bootstrap
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.sql import read_connection

LIMIT = 4
POSTS = 13
WAIT_SECONDS = 60


def ids_of(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["items"]]


def committed_rankings(settings: RecommenderSettings) -> set[str]:
    """What another process finds in SQL."""
    engine = open_database(settings.database_url)
    with read_connection(engine) as connection:
        found = set(connection.scalars(select(feed_pages.c.request_id)))
    engine.dispose()
    return found


def wait_until_committed(settings: RecommenderSettings, request_id: str) -> set[str]:
    until = time.monotonic() + WAIT_SECONDS
    while request_id not in (found := committed_rankings(settings)):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[RecommenderSettings, list[Any], set[str]]:
    """Settings of the killed API, its first pages, and which of their rankings were in SQL before it."""
    folder: Path = tmp_path_factory.mktemp("killed")
    settings = RecommenderSettings(data_dir=folder, vectors_url="memory://", secret=SECRET)
    with api(folder) as (process, connection):
        ask(connection, "PUT", "/v1/communities/c")
        for number in range(POSTS):
            post = {"community_id": "c", "author_id": "a", "title": "A post"}
            ask(connection, "PUT", f"/v1/items/p{number}", post)
        feed = f"/v1/feed?limit={LIMIT}&user_id=u"
        pages = [ask(connection, "GET", f"{feed}{number}") for number in range(10)]
        before = wait_until_committed(settings, pages[-1]["request_id"])
        pages += [ask(connection, "GET", f"{feed}{number}") for number in range(10, 30)]
        process.send_signal(signal.SIGKILL)
        process.wait()
    return settings, pages, before


def test_a_cursor_of_a_killed_process_keeps_its_promise_or_is_over(
    killed: tuple[RecommenderSettings, list[Any], set[str]],
) -> None:
    settings, pages, before = killed
    service = bootstrap(settings)
    client = TestClient(service.app)
    whole = ids_of(client.get("/v1/feed", params={"user_id": "u0", "limit": POSTS}).json())
    assert len(whole) == POSTS
    for number, page in enumerate(pages):
        assert ids_of(page) == whole[:LIMIT]
        asked = {"user_id": f"u{number}", "cursor": page["next_cursor"], "limit": POSTS}
        answer = client.get("/v1/feed", params=asked)
        if page["request_id"] in before:
            assert answer.status_code == 200
        if answer.status_code == 200:
            assert ids_of(answer.json()) == whole[LIMIT:]
            assert answer.json()["request_id"] == page["request_id"]
        else:
            assert answer.status_code == 410
    service.close()
    assert {page["request_id"] for page in pages[:10]} <= before
