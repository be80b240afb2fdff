"""The upkeep of user vectors beside others who write."""

import threading
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update

from nearfeed_contracts.events import Interaction
from nearfeed_contracts.tables import reader_builds, spaces
from nearfeed_contracts.topics import record_of
from nearfeed_recommender.users import rebuild as upkeep
from nearfeed_recommender.users.user_vectors import stored_vector
from nearfeed_runtime.sql import read_connection, write_transaction


@pytest.mark.parametrize("database_url", [""], indirect=False)
def test_who_writes_while_a_space_is_built_need_not_wait_for_its_end(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [Interaction(user_id=f"u{n:03}", item_id="p1", kind="read") for n in range(100)]
    served.log.append([record_of(one) for one in readers])
    served.settle()
    served.add_space("s2", active=False)
    served.set_loaded("s2")
    built_by_then: list[bool] = []
    monkeypatch.setattr(upkeep, "_READERS", 20)
    refresh = upkeep.refresh_vectors
    writers: list[threading.Thread] = []

    def write() -> None:
        served.put_post("meanwhile")
        with read_connection(served.engine) as connection:
            built = select(reader_builds.c.space).where(reader_builds.c.space == "s2")
            built_by_then.append(connection.scalar(built) is not None)

    def refresh_meanwhile(*arguments: Any, **named: Any) -> None:
        if not writers:
            writers.append(threading.Thread(target=write))
            writers[0].start()
        refresh(*arguments, **named)

    monkeypatch.setattr(upkeep, "refresh_vectors", refresh_meanwhile)
    served.settle()
    writers[0].join(30)
    assert built_by_then == [False]


def test_a_space_that_is_loaded_again_is_built_once_it_is_loaded(
    served: Any, monkeypatch: pytest.MonkeyPatch, random_vector: Any
) -> None:
    served.log.append([record_of(Interaction(user_id="u", item_id="p1", kind="read"))])
    served.add_space("s2", active=False)
    served.set_vector("s2", "p1", random_vector(1))
    served.set_loaded("s2")
    served.settle()
    assert stored(served, "s2", "u") == pytest.approx(random_vector(1))
    computed: list[str] = []
    refresh = upkeep.refresh_vectors

    def note(*arguments: Any, **named: Any) -> None:
        computed.append(named["space"] if "space" in named else arguments[2])
        refresh(*arguments, **named)

    monkeypatch.setattr(upkeep, "refresh_vectors", note)
    with write_transaction(served.engine) as transaction:
        transaction.execute(update(spaces).where(spaces.c.space == "s2").values(loaded_at=None))
    served.set_vector("s2", "p1", random_vector(2), version=2)
    served.settle()
    assert "s2" not in computed
    served.set_loaded("s2")
    served.settle()
    assert stored(served, "s2", "u") == pytest.approx(random_vector(2))


def stored(served: Any, space: str, user_id: str) -> np.ndarray | None:
    with read_connection(served.engine) as connection:
        return stored_vector(connection, space, user_id)
