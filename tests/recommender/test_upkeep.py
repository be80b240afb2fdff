"""The upkeep of user vectors beside others who write."""

import threading
from typing import Any

import pytest
from sqlalchemy import select

from nearfeed_contracts.events import Interaction
from nearfeed_contracts.tables import reader_builds
from nearfeed_contracts.topics import record_of
from nearfeed_recommender.readers import upkeep
from nearfeed_runtime.sql import reading


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
    refresh = upkeep.refresh_vectors
    writers: list[threading.Thread] = []

    def write() -> None:
        served.put_post("meanwhile")
        with reading(served.engine) as connection:
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
