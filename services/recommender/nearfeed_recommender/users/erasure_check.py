"""What remains of a reader, where, and until when at the latest (rule: erasure holds against replay)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, Table, func, select

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.event_log import DEAD_SUFFIX
from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.runs import Run, list_runs
from nearfeed_contracts.tables import edges, outbox, reader_controls, served_requests, vertices
from nearfeed_contracts.topics import READER_RETENTION, TOPICS
from nearfeed_recommender.identity.erasures import erasures
from nearfeed_recommender.users.erasure import of_author
from nearfeed_recommender.users.personal_data import HOLDINGS
from nearfeed_recommender.users.run_files import ends_at, holds_reader, prune_and_audit
from nearfeed_runtime.operations import Listed, Operation, Said, Step
from nearfeed_runtime.sql import read_connection

COLUMNS = ("where", "what", "until (UTC)")
NOTES = (
    "Backups of SQL, of the log and of run folders are out of reach: let them end by your own rule.",
    "Processes that serve a graph or lists have them in memory until they load a newer run or end.",
)
APP_TOPICS = "An app's own topics (NEARFEED_TOPIC_MAP) keep their records by the app's rule."


class RemainsError(NearfeedError):
    """A reader of whom something is left that does not end by itself."""


class Remains(NamedTuple):
    """`until` is when it will be gone at the latest; None: nothing ends it."""

    where: str
    what: str
    until: datetime | None


@dataclass(frozen=True)
class ErasureReport:
    """`erased_at` is None for a reader who was not erased. `notes` tell what cannot be looked into."""

    user_id: str
    erased_at: datetime | None
    remains: tuple[Remains, ...]
    notes: tuple[str, ...]

    @property
    def is_done(self) -> bool:
        """Whether the reader was erased, and whatever is left ends by itself."""
        return self.erased_at is not None and all(each.until is not None for each in self.remains)


def erasure_operations(
    engine: Engine, runs_url: str, secret: bytes, *, has_app_topics: bool
) -> dict[str, Operation]:
    """The operations by their names in the table of a process."""
    check = partial(check_erasure, engine, runs_url, secret, has_app_topics=has_app_topics)
    return {
        "erasure.check": partial(report_erasure, check),
        "erasure.prune": partial(prune_and_audit, engine, runs_url),
    }


def check_erasure(
    engine: Engine, runs_url: str, secret: bytes, user_id: str, *, has_app_topics: bool
) -> ErasureReport:
    """Looks into SQL and the runs; of the log it is known how long records are kept."""
    now = datetime.now(UTC)
    with read_connection(engine) as connection:
        micros = erasures(connection, secret, {user_id}).get(user_id)
        in_sql = [*_in_sql(connection, user_id)]
        as_unit = _rows_of(connection, served_requests, _by_unit(user_id))
        notes = [*NOTES, *([APP_TOPICS] if has_app_topics else []), *_in_graph(connection, user_id)]
    erased_at = None if micros is None else from_micros(micros)
    in_log = [] if erased_at is None else [*_in_log(erased_at, now), *_as_unit(as_unit, erased_at)]
    in_runs = [*_in_runs(runs_url, user_id, now)]
    return ErasureReport(user_id, erased_at, (*in_sql, *in_log, *in_runs), tuple(notes))


def report_erasure(check: partial[ErasureReport], user_id: str) -> Iterator[Step]:
    """The report as a table. Raises RemainsError where it is not done."""
    report = check(user_id)
    if report.remains:
        yield Listed(COLUMNS, tuple(_row_of(each) for each in report.remains))
    yield from map(Said, report.notes)
    if report.erased_at is None:
        raise RemainsError(f"Reader {user_id} has not been erased: DELETE /v1/users/{user_id} does so.")
    if not report.is_done:
        raise RemainsError(
            f"Reader {user_id} was erased at {_time(report.erased_at)}, and what has no end above is left: "
            "give the consumer a second, erase again what came since, and end old runs with `erasure prune`."
        )
    last = max((each.until for each in report.remains if each.until), default=None)
    end = "nothing is left" if last is None else f"the last of it will be gone by {_time(last)}"
    yield Said(f"Reader {user_id} was erased at {_time(report.erased_at)}; {end}.")


def _in_sql(connection: Connection, user_id: str) -> Iterator[Remains]:
    for holding in HOLDINGS:
        if rows := holding.count(connection, user_id):
            yield Remains(f"SQL {holding.table.name}", _rows(rows), None)
    if named := _rows_of(connection, reader_controls, of_author(user_id)):
        yield Remains("SQL reader_controls", f"{_rows(named)} of others, on this author", None)
    if waiting := _rows_of(connection, outbox, outbox.c.key == user_id):
        yield Remains("SQL outbox", f"{_rows(waiting)} on the way to the log", None)


def _in_log(erased_at: datetime, now: datetime) -> Iterator[Remains]:
    """A topic that is compacted lets go of a post's former records in the same time."""
    until = erased_at + READER_RETENTION
    if until <= now:
        return
    for topic in TOPICS.values():
        own = "records of before" if topic.retention else "own posts as they were"
        yield Remains(f"log {topic.name}", f"{own}, which no consumer heeds", until)
        yield Remains(f"log {topic.name}{DEAD_SUFFIX}", "messages that could not be read", until)
    yield Remains("SQL served_items", "as the author of posts that others were shown", until)
    yield Remains("SQL served_requests", "among the authors whom others had read", until)


def _by_unit(user_id: str) -> ColumnElement[bool]:
    return (served_requests.c.unit_id == user_id) & (served_requests.c.user_id != user_id)


def _as_unit(answers: int, erased_at: datetime) -> Iterator[Remains]:
    """The ledger of another id under which the same person was served."""
    if answers:
        until = erased_at + READER_RETENTION
        yield Remains("SQL served_requests", f"{_rows(answers)} of another id, assigned by this one", until)


def _rows_of(connection: Connection, table: Table, where: ColumnElement[bool]) -> int:
    return int(connection.scalar(select(func.count()).select_from(table).where(where)) or 0)


def _in_runs(runs_url: str, user_id: str, now: datetime) -> Iterator[Remains]:
    broken: list[tuple[str, str]] = []
    for run in list_runs(runs_url, on_broken=lambda url, error: broken.append((url, str(error)))):
        yield from _in_run(run, user_id, now)
    for url, fault in broken:
        yield Remains(f"run {url}", f"cannot be read: {fault}", None)


def _in_run(run: Run, user_id: str, now: datetime) -> Iterator[Remains]:
    where = f"run {run.manifest.space}"
    try:
        held = holds_reader(run, user_id)
    except (NearfeedError, OSError, ValueError) as error:
        yield Remains(where, f"cannot be read: {error}", None)
        return
    if held:
        end = ends_at(run)
        overdue = end <= now
        what = f"{run.manifest.kind} that name the reader" + (", which should have ended" if overdue else "")
        yield Remains(where, what, None if overdue else end)


def _in_graph(connection: Connection, user_id: str) -> Iterator[str]:
    """Vertices and edges do not say whose ids they hold, and other things may have the same id."""
    same = (edges.c.from_id == user_id) | (edges.c.to_id == user_id)
    for what, table, where in (
        ("vertices", vertices, vertices.c.vertex_id == user_id),
        ("edges", edges, same),
    ):
        if rows := _rows_of(connection, table, where):
            yield f"SQL {what}: {_rows(rows)} with this id; if it is the reader's, remove them there."


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _row_of(each: Remains) -> tuple[str, ...]:
    return (each.where, each.what, "no end" if each.until is None else _time(each.until))


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
