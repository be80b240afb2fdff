import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from sqlalchemy import Engine, insert
from tests.embedder.taste import put_posts

from nearfeed_backends.opening import open_database, open_log
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.events import Item, ItemVector, decode
from nearfeed_contracts.runs import Run
from nearfeed_contracts.tables import spaces
from nearfeed_contracts.topics import ITEM_VECTORS, record_of
from nearfeed_embedder.bootstrap import bootstrap
from nearfeed_embedder.dataset import Post, text_of
from nearfeed_embedder.encoder import load_encoder
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_runtime.process import running

PATIENCE_SECONDS = 60


@pytest.fixture
def settings(tmp_path: Path) -> EmbedderSettings:
    return EmbedderSettings(data_dir=tmp_path, device="cpu", reconcile_seconds=0.2)


@pytest.fixture
def engine(settings: EmbedderSettings) -> Iterator[Engine]:
    engine = open_database(settings.database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def log(settings: EmbedderSettings) -> Iterator[EventLog]:
    with closing(open_log(settings.log_url)) as log:
        yield log


def item(item_id: str) -> Item:
    return Item(
        item_id=item_id,
        version=1,
        community_id="c0",
        author_id="a",
        title="a striker",
        body="on the pitch",
        published_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def wait_for_vectors(log: EventLog, count: int) -> list[ItemVector]:
    events: list[ItemVector] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    with closing(log.subscribe([ITEM_VECTORS.name], "test", lambda _source: 0)) as subscription:
        while len(events) < count and time.monotonic() < deadline:
            for message in subscription.poll(100, 0.2):
                event = decode(message.value or b"")
                assert isinstance(event, ItemVector)
                events.append(event)
    return events


def test_a_post_on_the_log_comes_out_as_a_vector(
    engine: Engine, log: EventLog, settings: EmbedderSettings, trained: Run
) -> None:
    row = {"space": "s", "state": "ready", "manifest": "{}", "run_url": trained.url, "created_at": 1}
    with engine.begin() as transaction:
        transaction.execute(insert(spaces).values(**row, loaded_at=2))
    put_posts(engine, [Post("before", "c1", (), "flour and butter")])
    with (
        closing(bootstrap(settings, engine=engine, log=log)) as embedder,
        running(embedder.loops),
    ):
        log.append([record_of(item("new"))])
        events = {event.item_id: event for event in wait_for_vectors(log, 2)}
    assert events.keys() == {"before", "new"}
    encoder = load_encoder(trained, torch.device("cpu"))
    assert encoder is not None
    posts = [
        Post("before", "c1", (), "flour and butter"),
        Post("new", "c0", (), text_of("a striker", "on the pitch")),
    ]
    vectors, _ = encoder.encode(posts)
    for post, vector in zip(posts, vectors, strict=True):
        np.testing.assert_allclose(events[post.item_id].vector, vector, atol=1e-5)


def test_the_service_is_wired_without_torch() -> None:
    script = (
        "import nearfeed_embedder.bootstrap, sys; print([m for m in ('torch', 'dgl') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_command_that_cannot_do_its_work_says_why_in_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nearfeed_embedder", "train"]
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={"NEARFEED_DATA_DIR": str(tmp_path), "PATH": ""},
        check=False,
    )
    assert found.returncode == 2
    (line,) = [line for line in found.stderr.splitlines() if line.startswith("nearfeed:")]
    assert line == "nearfeed: There are no posts to train on: import items first (nearfeed import)."
    assert "Traceback" not in found.stderr
