"""Tallies outlive their process, and are counted once."""

import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from nearfeed_contracts.events import Served
from nearfeed_contracts.topics import record_of
from nearfeed_recommender.exposure_log import writer as writing
from nearfeed_recommender.exposure_log.writer import Tally, abandoned

KILLED = """
import os, signal, sys
from pathlib import Path
from nearfeed_recommender.exposure_log.writer import Tally
tally = Tally(Path(sys.argv[1]), 1)
for _ in range(4):
    tally.noted()
tally.settled(2)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_had_not_settled_is_found(tmp_path: Path) -> None:
    child = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert child.returncode == -9
    own = Tally(tmp_path, 0)
    own.noted()
    assert [each.sections for each in abandoned(tmp_path)] == [3]
    for each in abandoned(tmp_path):
        each.path.unlink()
    assert list(abandoned(tmp_path)) == []
    own.close()
    assert [each.sections for each in abandoned(tmp_path)] == [1]


def test_a_process_that_has_settled_all_leaves_nothing(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "new", 0)
    tally.noted()
    tally.settled(1)
    tally.close()
    tally.noted()
    assert list((tmp_path / "new").iterdir()) == []


class _Log:
    def append(self, records: object) -> None:
        pass


def test_what_is_noted_while_the_tally_begins_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = writing.ExposureLogWriter(_Log(), tmp_path, lambda *_: None)  # type: ignore[arg-type]
    section = Served(
        request_id="r",
        user_id="u",
        served_at=datetime.now(UTC),
        section="feed",
        provider="p",
        config_version=0,
        items=(),
    )
    noting = threading.Thread(target=ledger.note, args=(record_of(section),))

    def begin(folder: Path, waiting: int) -> Tally:
        noting.start()
        noting.join(0.1)
        return Tally(folder, waiting)

    monkeypatch.setattr(writing, "Tally", begin)

    def is_set() -> bool:
        noting.join()
        return True

    ledger.run(SimpleNamespace(is_set=is_set))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
