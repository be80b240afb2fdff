"""An empty data folder with its database and log, and files to import."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine

from nearfeed_backends.opening import open_database, open_log
from nearfeed_contracts.event_log import EventLog
from nearfeed_standalone.importing.operation import Importer


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/data/nearfeed.db")
    yield engine
    engine.dispose()


@pytest.fixture
def log(tmp_path: Path, engine: Engine) -> Iterator[EventLog]:
    log = open_log(f"embedded://{tmp_path}/data/log.db")
    yield log
    log.close()


SECRET = b"a secret of the tests"


@pytest.fixture
def importer(engine: Engine, log: EventLog, tmp_path: Path) -> Importer:
    return Importer(engine, log, tmp_path / "data" / "imports", SECRET, batch=7)


Write = Callable[[Path, Sequence[Mapping[str, Any]]], Path]


@pytest.fixture(scope="session")
def write_rows() -> Write:
    """Writes rows in the format of the suffix; a value of None is a cell that is left empty."""

    def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
        formats = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
        path.write_bytes(formats[path.suffix](rows))
        return path

    return write


@pytest.fixture
def written(tmp_path: Path, write_rows: Write) -> Callable[[str, Sequence[Mapping[str, Any]]], Path]:
    return lambda name, rows: write_rows(tmp_path / name, rows)


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    for row in rows:
        writer.writerow({k: "|".join(v) if isinstance(v, list | tuple) else v for k, v in row.items()})
    return text.getvalue().encode()


def _json_lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def _parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), file)
    return file.getvalue()
