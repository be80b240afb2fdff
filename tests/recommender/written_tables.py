"""Checks that a transaction which changes what is followed in memory says so where others look."""

import re
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import Connection, Engine, event

from nearfeed_contracts.tables import change_sequence, erased_users, items, user_revisions
from nearfeed_recommender.users.user_vectors import USER_TABLES

NEEDED = {table.name: user_revisions.name for table in (*USER_TABLES, erased_users)}
NEEDED[items.name] = change_sequence.name
"""A transaction that writes one table has to write the other, too."""

_WRITES = re.compile(
    r"\s*(?:INSERT(?: IGNORE)? INTO|UPDATE|DELETE FROM|REPLACE INTO)\s+[`\"]?(\w+)", re.IGNORECASE
)
# On MySQL, posts are locked by an insert that changes nothing of a row that is there. No feed needs the
# vectors of a space that was dropped.
_EXEMPT = re.compile(
    r"ON DUPLICATE KEY UPDATE `?item_id`? = |DELETE FROM user_vectors WHERE user_vectors\.space IN ",
    re.IGNORECASE,
)
_TESTS = str(Path(__file__).parents[1])
_PASSED_OVER = (
    "/sqlalchemy/",
    "/nearfeed_runtime/sql.py",
    "/written_tables.py",
    "/contextlib.py",
    "<string>",
)


@dataclass
class WrittenTables:
    """What each transaction of an engine writes; `faults` are those that lack a table of NEEDED.

    Statements of tests themselves are passed over.
    """

    engine: Engine
    faults: list[str] = field(default_factory=list)
    written: dict[int, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        event.listen(self.engine, "before_cursor_execute", self._note)
        event.listen(self.engine, "commit", self._check)
        event.listen(self.engine, "rollback", self._forget)

    def close(self) -> None:
        event.remove(self.engine, "before_cursor_execute", self._note)
        event.remove(self.engine, "commit", self._check)
        event.remove(self.engine, "rollback", self._forget)

    def _note(self, connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        found = _WRITES.match(statement)
        if found is None or _EXEMPT.search(statement) or _is_of_a_test(sys._getframe(1)):
            return
        where = "".join(traceback.format_list(traceback.extract_stack(limit=30)[-12:-1]))
        self.written.setdefault(id(connection), {}).setdefault(found[1], where)

    def _check(self, connection: Connection) -> None:
        tables = self.written.pop(id(connection), {})
        for table in NEEDED.keys() & tables.keys():
            if NEEDED[table] not in tables:
                self.faults.append(f"{table} was written without {NEEDED[table]}:\n{tables[table]}")

    def _forget(self, connection: Connection) -> None:
        self.written.pop(id(connection), None)


def _is_of_a_test(frame: FrameType | None) -> bool:
    while frame is not None and any(part in frame.f_code.co_filename for part in _PASSED_OVER):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(_TESTS)
