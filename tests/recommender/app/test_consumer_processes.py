"""Two consumer processes on Kafka and MariaDB, and what befalls them in the middle of 20,000 events."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import kafka
import numpy as np
import pytest
from sqlalchemy import Engine, func, insert, select
from sqlalchemy.exc import DBAPIError

from nearfeed_backends.kafka.settings import read_url
from nearfeed_backends.opening import open_database, open_log
from nearfeed_contracts.event_log import EventLog, LogUnavailableError
from nearfeed_contracts.events import KINDS, Interaction
from nearfeed_contracts.fields import from_micros, to_micros
from nearfeed_contracts.runs import Block, Manifest
from nearfeed_contracts.tables import interactions, item_contexts, positions, spaces, user_vectors
from nearfeed_contracts.topics import INTERACTIONS, record_of
from nearfeed_core.pooling import pool_reader
from nearfeed_core.readings import Reading, WeightRule, weights_of
from nearfeed_recommender.users.consumer import GROUP
from nearfeed_recommender.users.rows import reading_of
from nearfeed_runtime.sql import read_connection, write_transaction
from servers import fresh_database, kafka_url

pytestmark = [pytest.mark.server, pytest.mark.slow]
TOOLS = Path(__file__).parents[3] / "tools" / "servers"
BASE = 1_700_000_000_000_000
EVENTS, READERS, POSTS, DIM, CALL = 20_000, 300, 400, 8, 500
SECONDS = 240.0
CONTEXTS = {f"p{n}": np.random.default_rng(n).standard_normal(DIM).astype(np.float32) for n in range(POSTS)}
BLOCKS = (Block(start=0, dim=DIM),)


def events() -> list[Interaction]:
    draw = np.random.default_rng(7)
    told = []
    for n in range(EVENTS):
        kind = KINDS[draw.integers(len(KINDS))]
        told.append(
            Interaction(
                user_id=f"u{draw.integers(READERS)}",
                item_id=f"p{draw.integers(POSTS)}",
                kind=kind,
                occurred_at=from_micros(BASE + n * 60_000_000),
                value=float(draw.integers(6)) if kind == "rating" else None,
            )
        )
    return told


def rows_of(told: list[Interaction]) -> dict[tuple[str, str], Reading]:
    """The rows by their definition."""
    rows: dict[tuple[str, str], Reading] = {}
    for one in told:
        pair = (one.user_id, one.item_id)
        rows[pair] = rows.get(pair, Reading()).merged(one.kind, to_micros(one.occurred_at), one.value)
    return rows


def vectors_of(rows: dict[tuple[str, str], Reading]) -> dict[str, np.ndarray]:
    """Every reader's vector by its definition; readers without one are left out."""
    counted: dict[str, dict[str, Reading]] = {}
    for (user_id, item_id), row in rows.items():
        if row.newest_at() is not None:
            counted.setdefault(user_id, {})[item_id] = row
    found = {}
    for user_id, readings in counted.items():
        weights = weights_of(readings.values(), WeightRule())
        if any(weights):
            found[user_id] = pool_reader(np.stack([CONTEXTS[item] for item in readings]), weights, BLOCKS)
    return found


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Waits until something holds; a database that restarts holds nothing."""
    give_up = time.monotonic() + SECONDS
    while True:
        try:
            if holds():
                return
        except (DBAPIError, LogUnavailableError) as error:
            what = f"{what} ({error})"[:500]
        assert time.monotonic() < give_up, f"it did not come to hold: {what}"
        time.sleep(0.2)


@dataclass
class Consumers:
    """Two processes `nearfeed-recommender consume`, and what they have done."""

    engine: Engine
    log: EventLog
    admin: kafka.KafkaAdminClient
    environment: dict[str, str]
    folder: Path
    processes: "list[subprocess.Popen[bytes]]"

    def start(self) -> "subprocess.Popen[bytes]":
        with (self.folder / f"consumer{len(self.processes)}.log").open("wb") as file:
            command = [sys.executable, "-m", "nearfeed_recommender", "consume"]
            process = subprocess.Popen(command, env=self.environment, stdout=file, stderr=file)
        self.processes.append(process)
        return process

    def done(self) -> int:
        with read_connection(self.engine) as connection:
            own = select(func.sum(positions.c.next_offset)).where(positions.c.consumer_group == GROUP)
            return int(connection.scalar(own) or 0)

    def members(self) -> int:
        """How many members of the group have partitions, once they have agreed."""
        group = self.admin.describe_groups([GROUP])[GROUP]
        if group["group_state"] != "Stable":
            return 0
        return sum(bool(member["member_assignment"]["assigned_partitions"]) for member in group["members"])

    def idle(self) -> bool:
        with read_connection(self.engine) as connection:
            stale = connection.scalar(select(func.count()).where(user_vectors.c.stale))
        return not stale and self.done() == sum(self.log.end_offsets(INTERACTIONS.name).values())


def forget_events(admin: kafka.KafkaAdminClient) -> None:
    """Deletes the topic, so that its offsets begin anew."""
    if INTERACTIONS.name in admin.list_topics():
        admin.delete_topics([INTERACTIONS.name])
    eventually(lambda: INTERACTIONS.name not in admin.list_topics(), "the topic is deleted")


def add_space(engine: Engine) -> None:
    manifest = Manifest(space="s1", model="test", dim=DIM, blocks=BLOCKS, created_at="2026-01-01T00:00:00Z")
    row = {"space": "s1", "state": "ready", "manifest": manifest.model_dump_json(), "run_url": "-"}
    contexts = [
        {"space": "s1", "item_id": item, "version": 1, "context": context.tobytes(), "change_id": change}
        for change, (item, context) in enumerate(CONTEXTS.items(), 1)
    ]
    with write_transaction(engine) as transaction:
        transaction.execute(insert(spaces).values(**row, created_at=0, loaded_at=1))
        transaction.execute(insert(item_contexts), contexts)


@pytest.fixture
def consumers(tmp_path: Path) -> Iterator[Consumers]:
    url = kafka_url(partitions=4)
    admin = kafka.KafkaAdminClient(bootstrap_servers=read_url(url).servers[0])
    forget_events(admin)
    with fresh_database() as database_url:
        engine, log = open_database(database_url), open_log(url)
        add_space(engine)
        environment = {
            **os.environ,
            "NEARFEED_DATABASE_URL": database_url,
            "NEARFEED_LOG_URL": url,
            "NEARFEED_VECTORS_URL": "memory://",
            "NEARFEED_DATA_DIR": str(tmp_path),
            "NEARFEED_SECRET": "a test's secret",
            "NEARFEED_LOG_LEVEL": "INFO",
        }
        consumers = Consumers(engine, log, admin, environment, tmp_path, [])
        yield consumers
        for process in consumers.processes:
            process.kill()
            process.wait()
        log.close()
        engine.dispose()
    admin.close()


def tell(log: EventLog, told: list[Interaction]) -> None:
    """Appends as a client of the API does: what was not accepted is told again."""
    for start in range(0, len(told), CALL):
        records = [record_of(one) for one in told[start : start + CALL]]
        while True:
            try:
                log.append(records)
                break
            except LogUnavailableError:
                time.sleep(0.5)


def kill(consumers: Consumers) -> None:
    first = consumers.processes[0]
    first.send_signal(signal.SIGKILL)
    first.wait()
    consumers.start()


def restart_broker(_: Consumers) -> None:
    subprocess.run([TOOLS / "kafka.sh", "restart"], check=True, timeout=SECONDS)


def restart_database(_: Consumers) -> None:
    subprocess.run([TOOLS / "mariadb.sh", "restart"], check=True, timeout=SECONDS)


@pytest.mark.parametrize("befall", [kill, restart_broker, restart_database])
def test_every_vector_is_the_one_of_a_rebuild(
    consumers: Consumers, befall: Callable[[Consumers], None]
) -> None:
    told = events()
    tell(consumers.log, told[: EVENTS // 2])
    consumers.start(), consumers.start()
    eventually(lambda: consumers.members() == 2, "both have partitions")
    eventually(lambda: consumers.done() > EVENTS // 10, "a tenth is done")
    teller = threading.Thread(target=tell, args=(consumers.log, told[EVENTS // 2 :]), daemon=True)
    teller.start()
    done_before = consumers.done()
    befall(consumers)
    assert done_before < EVENTS * 9 // 10
    teller.join(SECONDS)
    assert not teller.is_alive()
    eventually(lambda: consumers.done() >= EVENTS and consumers.idle(), "all is consumed")
    for process in consumers.processes[-2:]:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(60) for process in consumers.processes[-2:]] == [0, 0]
    _assert_rebuilt(consumers.engine, rows_of(told))


def _assert_rebuilt(engine: Engine, expected: dict[tuple[str, str], Reading]) -> None:
    with read_connection(engine) as connection:
        rows = connection.execute(select(interactions)).mappings().all()
        stored = connection.execute(select(user_vectors)).all()
    assert {(row["user_id"], row["item_id"]): reading_of(row) for row in rows} == expected
    vectors = vectors_of(expected)
    assert {row.user_id for row in stored} == set(vectors)
    for row in stored:
        assert np.frombuffer(row.vector, "<f4") == pytest.approx(vectors[row.user_id], abs=1e-5)
