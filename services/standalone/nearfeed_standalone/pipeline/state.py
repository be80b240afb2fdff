"""Runs of pipelines and their steps, in SQL."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Engine, Row, case, func, select, update

from nearfeed_contracts.errors import NotFoundError
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import pipeline_runs, pipeline_steps
from nearfeed_runtime.sql import committed, read_connection, upsert

WAITING, RUNNING, DONE, SKIPPED, FAILED, BROKEN = (
    "waiting", "running", "done", "skipped", "failed", "broken off",
)  # fmt: skip
PASSED = (DONE, SKIPPED)
_steps = pipeline_steps.c
_runs = pipeline_runs.c


class Success(NamedTuple):
    """A step that was done: for which inputs, and what later steps take from it."""

    fingerprint: str
    output: dict[str, Any]


def begin_run(engine: Engine, run_id: str, pipeline: str, definition: str, steps: Sequence[str]) -> None:
    """Notes that a run goes on; a new one has steps that wait."""

    def begin(transaction: Connection) -> None:
        if transaction.scalar(select(_runs.run_id).where(_runs.run_id == run_id)) is None:
            upsert(transaction, pipeline_runs, [_new_run(run_id, pipeline, definition)])
            upsert(transaction, pipeline_steps, [_new_step(run_id, *step) for step in enumerate(steps)])
        else:
            _set_run(transaction, run_id, state=RUNNING, ended_at=None)

    committed(engine, begin)


def end_run(engine: Engine, run_id: str, state: str) -> None:
    ended_at = None if state == WAITING else now_micros()
    committed(engine, lambda transaction: _set_run(transaction, run_id, state=state, ended_at=ended_at))


def break_off(engine: Engine) -> None:
    """Marks what is said to run as broken off, for who knows that nothing does."""

    def mark(transaction: Connection) -> None:
        for table in (pipeline_steps, pipeline_runs):
            values = {"state": BROKEN, "ended_at": now_micros()}
            transaction.execute(update(table).where(table.c.state == RUNNING).values(values))

    committed(engine, mark)


def begin_step(engine: Engine, run_id: str, step: str) -> None:
    attempts = {"attempts": _steps.attempts + 1, "started_at": now_micros(), "ended_at": None, "error": None}
    _set_step(engine, run_id, step, state=RUNNING, **attempts)


def end_step(engine: Engine, run_id: str, step: str, state: str, success: Success) -> None:
    """Notes that a step is done, or that its last success still holds."""
    output = orjson.dumps(success.output).decode()
    values = {"fingerprint": success.fingerprint, "output": output, "error": None}
    _set_step(engine, run_id, step, state=state, ended_at=now_micros(), **values)


def fail_step(engine: Engine, run_id: str, step: str, error: str) -> None:
    _set_step(engine, run_id, step, state=FAILED, ended_at=now_micros(), error=error)


def last_success(engine: Engine, pipeline: str, step: str) -> Success | None:
    """When the step of any run of this pipeline was last done."""
    query = (
        select(_steps.fingerprint, _steps.output)
        .join_from(pipeline_steps, pipeline_runs, _steps.run_id == _runs.run_id)
        .where(_runs.pipeline == pipeline, _steps.step == step, _steps.state == DONE)
        .order_by(_steps.ended_at.desc())
        .limit(1)
    )
    with read_connection(engine) as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else Success(row.fingerprint, orjson.loads(row.output))


def outputs_of(engine: Engine, run_id: str) -> dict[str, Any]:
    """By step, what those that have passed in a run have put out."""
    return {row.step: orjson.loads(row.output) for row in steps_of(engine, run_id) if row.state in PASSED}


def steps_of(engine: Engine, run_id: str) -> Sequence[Row[Any]]:
    """The rows of a run's steps in their order. Raises NotFoundError."""
    query = select(pipeline_steps).where(_steps.run_id == run_id).order_by(_steps.place)
    with read_connection(engine) as connection:
        rows = connection.execute(query).all()
    if not rows:
        raise NotFoundError(f"There is no run {run_id!r} of a pipeline; `nearfeed pipeline list` has them.")
    return rows


def all_runs(engine: Engine) -> Sequence[Row[Any]]:
    """All runs, oldest first, each with how many of its steps have passed, and of how many."""
    columns = (_runs.run_id, _runs.pipeline, _runs.state, _runs.started_at, _runs.ended_at)
    passed = func.sum(case((_steps.state.in_(PASSED), 1), else_=0))
    query = (
        select(*columns, passed.label("passed"), func.count(_steps.step).label("steps"))
        .join_from(pipeline_runs, pipeline_steps, _steps.run_id == _runs.run_id)
        .group_by(*columns)
        .order_by(_runs.started_at, _runs.run_id)
    )
    with read_connection(engine) as connection:
        return connection.execute(query).all()


def _new_run(run_id: str, pipeline: str, definition: str) -> Mapping[str, Any]:
    state = {"state": RUNNING, "started_at": now_micros(), "ended_at": None}
    return {"run_id": run_id, "pipeline": pipeline, "definition": definition, **state}


def _new_step(run_id: str, place: int, step: str) -> Mapping[str, Any]:
    return {"run_id": run_id, "step": step, "place": place, "state": WAITING, "attempts": 0}


def _set_run(transaction: Connection, run_id: str, **values: Any) -> None:
    transaction.execute(update(pipeline_runs).where(_runs.run_id == run_id).values(values))


def _set_step(engine: Engine, run_id: str, step: str, **values: Any) -> None:
    one = (_steps.run_id == run_id, _steps.step == step)
    committed(
        engine, lambda transaction: transaction.execute(update(pipeline_steps).where(*one).values(values))
    )
