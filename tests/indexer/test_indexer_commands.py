import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nearfeed_indexer.commands import make_app
from nearfeed_runtime.auditing import machine_user
from nearfeed_runtime.operations import Said, Step

ME = {"actor": machine_user()}


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        (["load", "s1"], ("load", {"run": "s1", "activate": False, "wait": None, **ME})),
        (
            ["load", "s1", "--activate", "--wait", "5"],
            ("load", {"run": "s1", "activate": True, "wait": 5.0, **ME}),
        ),
        (["spaces", "list"], ("spaces.list", {})),
        (["spaces", "activate", "s1"], ("spaces.activate", {"space": "s1", **ME})),
        (["spaces", "rollback"], ("spaces.rollback", {**ME})),
        (["spaces", "drop", "s1"], ("spaces.drop", {"space": "s1", **ME})),
    ],
)
def test_each_command_runs_its_operation(typed: list[str], asked: tuple[str, Mapping[str, Any]]) -> None:
    calls = []

    def run(name: str, arguments: Mapping[str, Any]) -> Iterator[Step]:
        calls.append((name, arguments))
        yield Said("done")

    result = CliRunner().invoke(make_app(run), typed)
    assert result.exit_code == 0
    assert calls == [asked]
    assert "done" in result.output


def test_an_error_is_one_sentence_and_status_2(tmp_path: Path) -> None:
    environment = {"NEARFEED_DATA_DIR": str(tmp_path), "NEARFEED_VECTORS_URL": "memory://"}
    command = [sys.executable, "-m", "nearfeed_indexer", "load", "nothing"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 2
    assert result.stderr.startswith("nearfeed: There is no run at file://")
    assert "Traceback" not in result.stderr
