"""The data folder has one owner."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nearfeed_contracts.errors import NearfeedError
from nearfeed_standalone.lock import LOCK, MARKER, OWNER, FolderInUseError, hold, read_owner

HOLD = """
import sys, pathlib
from nearfeed_standalone.lock import hold
with hold(pathlib.Path(sys.argv[1])):
    pass
"""


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    with hold(tmp_path / "data"):
        second = subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path / "data")], capture_output=True, text=True
        )
        assert f"is in use by process {os.getpid()};" in second.stderr
        with (
            pytest.raises(FolderInUseError, match=f"in use by process {os.getpid()}"),
            hold(tmp_path / "data"),
        ):
            pass


def test_the_owner_is_told_to_nobody_but_the_user(tmp_path: Path) -> None:
    with hold(tmp_path) as folder:
        assert (tmp_path / OWNER).stat().st_mode & 0o777 == 0o600
        assert read_owner(tmp_path) == folder.owner
        assert folder.owner.address is None
        assert len(folder.owner.token) >= 32
        folder.announce("http://127.0.0.1:1")
        assert json.loads((tmp_path / OWNER).read_text())["address"] == "http://127.0.0.1:1"
        assert (tmp_path / OWNER).stat().st_mode & 0o777 == 0o600
        with pytest.raises(FolderInUseError) as caught, hold(tmp_path):
            pass
        assert caught.value.owner == folder.owner


def test_a_folder_is_free_again_after_its_owner(tmp_path: Path) -> None:
    tokens = []
    for _ in range(2):
        with hold(tmp_path) as folder:
            tokens.append(folder.owner.token)
        assert not (tmp_path / OWNER).exists()
    assert tokens[0] != tokens[1]


def test_a_killed_owner_leaves_the_folder_free(tmp_path: Path) -> None:
    killed = HOLD.replace("pass", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    subprocess.run([sys.executable, "-c", killed, str(tmp_path)])
    assert read_owner(tmp_path) is not None
    with hold(tmp_path) as folder:
        assert read_owner(tmp_path) == folder.owner


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(NearfeedError, match="holds files that are not Nearfeed's"), hold(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(NearfeedError, match="cannot be used"), hold(tmp_path / "data"):
        pass


def test_emptying_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    with hold(tmp_path) as folder:
        (tmp_path / "nearfeed.db").write_text("rows")
        (tmp_path / "runs" / "one").mkdir(parents=True)
        (tmp_path / "runs" / "one" / "file").write_text("")
        (tmp_path / "elsewhere").symlink_to(tmp_path.parent)
        folder.empty()
        assert {path.name for path in tmp_path.iterdir()} == {MARKER, LOCK, OWNER}
    assert tmp_path.parent.exists()


def test_an_emptying_that_was_broken_off_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pulled(*_: object) -> None:
        raise RuntimeError("the plug was pulled")

    with hold(tmp_path) as folder:
        (tmp_path / "nearfeed.db").write_text("rows")
        (tmp_path / "vectors.db").mkdir()
        monkeypatch.setattr("shutil.rmtree", pulled)
        with pytest.raises(RuntimeError, match="pulled"):
            folder.empty()
    monkeypatch.undo()
    with hold(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {MARKER, LOCK, OWNER}


def test_a_folder_that_had_no_mark_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "nearfeed.db").write_text("rows")
    (tmp_path / "thesis.txt").write_text("mine")
    with hold(tmp_path) as folder, pytest.raises(NearfeedError, match="remove it yourself"):
        folder.empty()
    assert (tmp_path / "thesis.txt").exists()
