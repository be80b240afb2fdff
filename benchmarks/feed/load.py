"""Requests, and what a number of connections get that send them one after the other: a closed loop, by wrk.

wrk adds to its distribution the requests that a connection could not send while it waited for an answer, so
that a pause of the server counts as often as a user would have met it.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("wrk.lua")
ANSWER_SECONDS = 30  # for an answer at most
INSTALL = {
    "wrk": "apt install wrk, brew install wrk, or https://github.com/wg/wrk",
    "vegeta": "go install github.com/tsenart/vegeta/v12@latest, or brew install vegeta",
}
_MARK = "load "
_VERSION = re.compile(r"[\s/v](\d+\.\d+\.\d+)")


class MissingGeneratorError(Exception):
    """A load generator is not on the path; the text says how it is installed."""


@dataclass(frozen=True)
class Request:
    """`path` has the query; a body is JSON."""

    path: str
    method: str = "GET"
    body: str = ""


@dataclass(frozen=True)
class Load:
    """Answers by what they are, and their latencies in milliseconds.

    `refused` are those with status 503; `failed` are other errors, and those without an answer.
    """

    seconds: float
    good: int
    degraded: int
    refused: int
    failed: int
    p50: float
    p95: float
    p99: float
    slowest: float

    @property
    def answers(self) -> int:
        return self.good + self.degraded + self.refused + self.failed

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.good / self.seconds

    def share(self, count: int) -> float:
        """Percent of all answers."""
        return 100 * count / max(1, self.answers)


def generator(name: str) -> str:
    """The path of a load generator. Raises MissingGeneratorError."""
    found = shutil.which(name)
    if found is None:
        raise MissingGeneratorError(f"{name} makes the load and is not installed: {INSTALL[name]}")
    return found


def versioned(name: str) -> str:
    """A load generator as `name=version`. Raises MissingGeneratorError."""
    path = generator(name)
    for command in ([path, "-version"], ["go", "version", "-m", path]):
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:  # no Go here, which alone knows the version of what it has installed
            continue
        if found := _VERSION.search(said.stdout + said.stderr):
            return f"{name}={found[1]}"
    return f"{name}=unknown"


def closed_loop(base: str, requests: Sequence[Request], connections: int, seconds: float) -> Load:
    """Each connection sends the next request when it has its answer. Raises RuntimeError."""
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.writelines(f"{each.method}\t{each.path}\t{each.body}\n" for each in requests)
        file.flush()
        command = [
            generator("wrk"), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s",
            "--timeout", f"{ANSWER_SECONDS}s", "-s", str(SCRIPT), base, "--", file.name,
        ]  # fmt: skip
        said = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds + 2 * ANSWER_SECONDS
        )
    if said.returncode:
        raise RuntimeError(f"wrk ended with {said.returncode}: {said.stdout}{said.stderr}")
    return parsed(said.stdout)


def parsed(output: str) -> Load:
    """What the script has written at the end of wrk's output. Raises RuntimeError."""
    for line in reversed(output.splitlines()):
        if line.startswith(_MARK):
            return Load(**json.loads(line.removeprefix(_MARK)))
    raise RuntimeError(f"wrk wrote no result: {output}")
