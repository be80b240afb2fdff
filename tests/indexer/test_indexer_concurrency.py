import threading
from pathlib import Path
from typing import Any

from sqlalchemy import select

from nearfeed_contracts.events import ItemDeleted
from nearfeed_contracts.tables import item_contexts
from nearfeed_contracts.topics import record_of
from nearfeed_indexer.loading import load_vectors
from nearfeed_indexer.opening import open_space
from nearfeed_runtime.process import Loop, running
from nearfeed_runtime.sql import read_connection

IDS = [f"i{n}" for n in range(60)]


class Follower:
    """Reads changes as the recommender does: always those after the highest that it has seen."""

    def __init__(self, world: Any) -> None:
        self.world, self.since, self.seen = world, 0, {}

    def look(self) -> None:
        query = select(item_contexts.c.item_id, item_contexts.c.change_id)
        with read_connection(self.world.engine) as connection:
            for item_id, change_id in connection.execute(
                query.where(item_contexts.c.change_id > self.since).order_by(item_contexts.c.change_id)
            ):
                self.seen[item_id] = self.since = change_id

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.look()


def test_a_load_a_consumer_and_a_follower_run_side_by_side(world: Any, tmp_path: Path) -> None:
    world.add_items(*IDS)
    checked = world.checked_run(world.write_run(tmp_path, "s1", dict.fromkeys(IDS, 2)))
    open_space(world.engine, world.store, checked.run)
    older = [world.vector("s1", item_id, 1) for item_id in IDS]
    newer = [world.vector("s1", item_id, 3) for item_id in IDS[:20]]
    deleted = [ItemDeleted(item_id=item_id, version=4) for item_id in IDS[10:30]]
    events = [event for trio in zip(older[:20], newer, deleted, strict=True) for event in trio] + older[20:]
    world.log.append([record_of(event) for event in events])
    follower = Follower(world)
    loops = [
        Loop("consumer", world.consumer(batch=3).run),
        Loop("follower", follower.run),
    ]
    with running(loops):
        list(load_vectors(world.engine, world.store, checked))
    world.apply()
    follower.look()
    expected = {item_id: 3 for item_id in IDS[:10]} | {item_id: 2 for item_id in IDS[30:]}
    live = {item_id: row[0] for item_id, row in world.contexts("s1").items() if row[1] is not None}
    assert live == expected
    assert world.vectors("s1") == {
        item_id: world.vector_of("s1", item_id, version).tobytes() for item_id, version in expected.items()
    }
    assert follower.seen == world.changes("s1")
    assert len(set(follower.seen.values())) == len(follower.seen)
