"""A pipeline with real processes and a real model, beside a server that holds the data folder."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmarks.server import served
from sqlalchemy import create_engine, select
from tests.flow.conftest import SMALL

from nearfeed_contracts.tables import pipeline_steps

pytestmark = pytest.mark.slow
PATIENCE_SECONDS = 60


def write_pipeline(path: Path, files: dict[str, Path]) -> Path:
    """JSON is YAML too."""
    pipeline = {
        "name": "flow",
        "import": [{"kind": kind, "file": str(file)} for kind, file in files.items()],
        "train": {"epochs": 1, "text_epochs": 0, "force": True},
        "evaluate": {"models": ["popularity", "recent-popularity"]},
        "gate": {"may_lie_below": {"popularity": 1, "recent-popularity": 1}},
        "load": {},
        "activate": {},
    }
    path.write_text(json.dumps(pipeline))
    return path


def states(data_dir: Path) -> dict[str, str]:
    """By step, in the run that began last."""
    engine = create_engine(f"sqlite:///{data_dir}/nearfeed.db")
    with engine.connect() as connection:
        query = select(pipeline_steps).order_by(pipeline_steps.c.run_id, pipeline_steps.c.place)
        rows = connection.execute(query).all()
    engine.dispose()
    return {row.step: row.state for row in rows if row.run_id == rows[-1].run_id}


def kill_in_training(data_dir: Path, pipeline: Path) -> None:
    command = [sys.executable, "-m", "nearfeed_standalone", "--data-dir", str(data_dir), "pipeline", "run"]
    process = subprocess.Popen(
        [*command, str(pipeline)],
        env=os.environ | SMALL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    give_up = time.monotonic() + PATIENCE_SECONDS
    while states_or_none(data_dir).get("train") != "running":
        assert process.poll() is None, "the pipeline has ended before it was killed"
        assert time.monotonic() < give_up, "the training has not begun"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()


def states_or_none(data_dir: Path) -> dict[str, str]:
    try:
        return states(data_dir)
    except IndexError:
        return {}


def test_a_pipeline_that_is_killed_and_run_again(
    imported: Path,
    slice_files: dict[str, Path],
    fresh_copy: Callable[[Path], Path],
    run_nearfeed: Any,
    tmp_path: Path,
) -> None:
    data_dir = fresh_copy(imported)
    pipeline = write_pipeline(tmp_path / "flow.yaml", slice_files)
    with served(data_dir) as client:
        kill_in_training(data_dir, pipeline)
        assert "broken off" in run_nearfeed(data_dir, "pipeline", "list").stdout
        run_nearfeed(data_dir, "pipeline", "run", str(pipeline))
        assert list(states(data_dir).values()) == ["skipped", *["done"] * 5]
        (manifest,) = (data_dir / "runs").glob("*/manifest.json")
        assert client.get("/readyz").json()["space"] == manifest.parent.name
        run_nearfeed(data_dir, "pipeline", "run", str(pipeline))
        assert set(states(data_dir).values()) == {"skipped"}
