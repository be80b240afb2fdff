"""What a serving process does beside requests."""

import threading
from pathlib import Path

import pytest

from nearfeed_backends.embedded.log import EmbeddedLog
from nearfeed_standalone.services import open_services


def test_the_log_is_kept_within_its_retention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maintained = threading.Event()
    monkeypatch.setattr(EmbeddedLog, "maintain", lambda _: maintained.set())
    with open_services(tmp_path / "data") as services:
        (upkeep,) = [loop for loop in services.loops if loop.name == "log-upkeep"]
        stop = threading.Event()
        thread = threading.Thread(target=upkeep.run, args=(stop,))
        thread.start()
        assert maintained.wait(10)
        stop.set()
        thread.join()
