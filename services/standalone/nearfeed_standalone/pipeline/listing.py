"""What `pipeline list` and `pipeline show` tell."""

from collections.abc import Iterator
from typing import Any

import orjson
from sqlalchemy import Engine, Row

from nearfeed_contracts.fields import now_micros
from nearfeed_runtime.operations import Listed, Said, Step, format_time
from nearfeed_standalone.pipeline import state
from nearfeed_standalone.pipeline.owning import runs_now


def list_runs(engine: Engine) -> Iterator[Step]:
    """All runs, oldest first. One that is said to run, while nothing does, is shown as broken off."""
    alive = runs_now(engine)
    rows = [
        (
            row.run_id,
            row.pipeline,
            _state_of(row, alive),
            f"{row.passed} of {row.steps}",
            format_time(row.started_at),
            _took(row, alive),
        )
        for row in state.all_runs(engine)
    ]
    if rows:
        yield Listed(("run", "pipeline", "state", "steps passed", "started (UTC)", "took"), tuple(rows))
    else:
        yield Said("No pipeline has run yet; `nearfeed pipeline run` does.")


def show_run(engine: Engine, run_id: str) -> Iterator[Step]:
    """The steps of a run. Raises NotFoundError."""
    alive = runs_now(engine)
    rows = [
        (
            row.step,
            _state_of(row, alive),
            str(row.attempts),
            format_time(row.started_at),
            _took(row, alive),
            _format_row(row),
        )
        for row in state.steps_of(engine, run_id)
    ]
    yield Listed(("step", "state", "attempts", "started (UTC)", "took", "output or error"), tuple(rows))


def _state_of(row: Row[Any], alive: bool) -> str:
    return state.BROKEN if row.state == state.RUNNING and not alive else str(row.state)


def _took(row: Row[Any], alive: bool) -> str:
    if row.started_at is None or (row.ended_at is None and not (alive and row.state == state.RUNNING)):
        return ""
    return f"{((row.ended_at or now_micros()) - row.started_at) / 1_000_000:,.1f} s"


def _format_row(row: Row[Any]) -> str:
    """The error, or of the output what stands alone: names and figures."""
    if row.error:
        return str(row.error)
    output = orjson.loads(row.output) if row.output else {}
    plain = {
        name: value for name, value in output.items() if isinstance(value, str | float) and name != "digest"
    }
    return ", ".join(
        f"{name} {value:.4f}" if isinstance(value, float) else str(value) for name, value in plain.items()
    )
