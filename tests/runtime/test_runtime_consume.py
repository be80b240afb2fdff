"""How much of a core a consumer takes."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine

from nearfeed_backends.database import open_database
from nearfeed_contracts.event_log import Message, Record, TopicPartition
from nearfeed_contracts.events import Event, Interaction, encode
from nearfeed_runtime import consume
from nearfeed_runtime.consume import Consumer

TOPIC = "interactions"
EVENT = encode(Interaction(user_id="u", item_id="p", kind="read"))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/nearfeed.db")
    yield engine
    engine.dispose()


class Batches:
    """A log of batches that one subscription gets in turn, and its subscription."""

    def __init__(self, *batches: int) -> None:
        self.batches = list(batches)
        self.offset = 0

    def subscribe(self, *_: object) -> "Batches":
        return self

    def append(self, records: Sequence[Record]) -> None: ...
    def end_offsets(self, topic: str) -> dict[int, int]:
        return {0: sum(self.batches)}

    def maintain(self) -> None: ...
    def close(self) -> None: ...
    def rejoin(self) -> None: ...
    def commit(self, offsets: Mapping[TopicPartition, int]) -> None: ...

    def poll(self, max_records: int, timeout: float) -> list[Message]:
        count = self.batches.pop(0)
        self.offset += count
        return [Message(TOPIC, 0, self.offset - count + n, "u", EVENT, 0) for n in range(count)]


class Rests(threading.Event):
    """A stop event that keeps how long was waited for it, and is set once the batches are at their end."""

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches, self.rested = batches, list[float]()

    def wait(self, timeout: float | None = None) -> bool:
        self.rested.append(timeout or 0.0)
        return False

    def is_set(self) -> bool:
        return not self.batches.batches


@pytest.fixture
def spend(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Adds seconds to the processor time of the thread, which stands still otherwise."""
    clock = [0.0]
    monkeypatch.setattr(consume.time, "thread_time", lambda: clock[0])

    def add(seconds: float) -> None:
        clock[0] += seconds

    return add


@pytest.mark.parametrize(("share", "rests"), [(0.2, [4.0, 0.0, 8.0]), (1.0, [0.0, 0.0, 0.0])])
def test_a_consumer_rests_in_proportion_to_the_time_of_a_batch(
    engine: Engine, spend: Callable[[float], None], share: float, rests: list[float]
) -> None:
    taken: list[int] = []

    def take(_transaction: Connection, events: Sequence[Event]) -> None:
        taken.append(len(events))
        spend(float(len(events)))

    batches = Batches(1, 0, 2)
    stop = Rests(batches)
    consumer = Consumer(engine, batches, "group", [TOPIC], {Interaction: [take]})
    consumer.run(stop, share=share)
    assert taken == [1, 2]
    assert stop.rested == pytest.approx(rests)
