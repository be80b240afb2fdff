"""Import, training and load as a user gives them: seconds, rows a second and memory of each command."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.measures import Row
from benchmarks.server import nearfeed
from nearfeed_contracts.runs import list_runs
from nearfeed_standalone.demo.files import films_in


def prepared(data_dir: Path) -> Iterator[Row]:
    """Makes a data folder with an active space."""
    for kind, path in films_in(data_dir.parent / f"{data_dir.name}-films").items():
        seconds, _ = _run(data_dir, "import", kind, str(path))
        yield f"import {kind}", seconds, "s"
        yield f"import {kind}: rate", pq.read_metadata(path).num_rows / seconds, "rows/s"
    seconds, mebibytes = _run(data_dir, "train")
    yield "train", seconds, "s"
    yield "train: peak memory", mebibytes, "MiB"
    run = list_runs(f"file://{data_dir.absolute()}/runs")[-1].manifest
    seconds, mebibytes = _run(data_dir, "load", run.space, "--activate")
    yield "load and activate", seconds, "s"
    yield "load and activate: rate", run.rows["vectors"] / seconds, "vectors/s"
    yield "load and activate: peak memory", mebibytes, "MiB"
    yield "evaluated readers", run.metrics["readers"], ""
    for model, metrics in run.metrics["models"].items():
        yield from _intervals(model, metrics)
    for baseline, metrics in run.metrics["gains"].items():
        yield from _intervals(f"gain over {baseline}", metrics)


def _intervals(name: str, metrics: dict[str, dict[str, float]]) -> Iterator[Row]:
    for metric, interval in metrics.items():
        for bound, value in interval.items():
            yield f"{name}: {metric} {bound}", value, ""


def _run(data_dir: Path, *arguments: str) -> tuple[float, float]:
    """Seconds and peak MiB of a command. Raises CalledProcessError."""
    command = nearfeed("--data-dir", str(data_dir), *arguments)
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, usage.ru_maxrss / 1024
