"""How steps are shown."""

import io

import pytest
from rich.console import Console

from nearfeed_runtime.operations import Listed, show

NAME = "pinsage-2026-11-25-18-38-41-a-long-name"
ROW = (NAME, "active", "9066", "12", "671", "pinsage", "0.1234", "2026-11-25 18:38")
COLUMNS = ("space", "state", "posts", "inferred", "readers", "model", "recall@20", "created")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_name_can_be_copied_from_a_table_of_80_columns(terminal: bool) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=terminal, color_system=None)
    show(iter([Listed(COLUMNS, (ROW,))]), console)
    assert NAME in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_is_not_for_a_terminal_has_a_line_for_each_row() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    show(iter([Listed(COLUMNS, (ROW,))]), console)
    (line,) = [line for line in console.file.getvalue().splitlines() if NAME in line]  # type: ignore[attr-defined]
    assert all(value in line for value in ROW)
