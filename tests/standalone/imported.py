"""What an import has left behind."""

from typing import Any

import orjson
from sqlalchemy import Engine, select

from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.events import Interaction, decode
from nearfeed_standalone.importing.operation import Importer


def rows_of(engine: Engine, table: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(table)))


def logged(log: EventLog) -> list[Interaction]:
    subscription = log.subscribe(["interactions"], "test", lambda _: 0)
    messages = subscription.poll(10_000, 0.0)
    subscription.close()
    return [decode(message.value) for message in messages if message.value]  # type: ignore[misc]


def refused(importer: Importer) -> list[dict[str, Any]]:
    files = sorted(importer.folder.glob("*.refused.jsonl"))
    return [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]
