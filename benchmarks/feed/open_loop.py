"""Requests at fixed times, whatever the answers take: an open loop, by vegeta."""

import base64
import csv
import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.feed.figures import Figure
from benchmarks.feed.load import ANSWER_SECONDS, Load, Request, generator
from benchmarks.feed.measuring import settle
from benchmarks.feed.processes import Server

MULTIPLES = (0.5, 0.75, 1, 1.5, 2, 4)
_IN_FLIGHT = 4_000  # requests at most; beyond them vegeta falls behind its rate
_KEPT_BYTES = 512  # of an answer: a feed says at its beginning whether it is degraded
_DEGRADED = b'"degraded":true'
_OK, _UNAVAILABLE = range(200, 300), 503


def rising(server: Server, requests: Sequence[Request], held: float, seconds: float) -> Iterator[Figure]:
    """Rates up to four times the one that is held in a closed loop: good answers, others, and the slowest."""
    held = max(1.0, held)
    for multiple in MULTIPLES:
        offered = multiple * held
        settle(server)
        load = open_loop(server.base, requests, offered, seconds)
        name = f"open loop, {multiple:g} times the held rate"
        yield Figure(name, "offered", offered, "1/s")
        yield Figure(name, "good", load.rate, "1/s")
        yield Figure(name, "good of held", 100 * load.rate / held, "%")
        for kind in ("degraded", "refused", "failed"):
            yield Figure(name, kind, getattr(load, kind) / load.seconds, "1/s")
        for measure in ("p50", "p99", "slowest"):
            yield Figure(name, measure, getattr(load, measure), "ms")


def open_loop(
    base: str, requests: Sequence[Request], rate: float, seconds: float, *, whole: bool = False
) -> Load:
    """`seconds` of the result reach to the last answer. Raises CalledProcessError or TimeoutExpired.

    With `whole` all of an answer is searched for what says that it is degraded, not its beginning alone.
    """
    with tempfile.TemporaryDirectory(prefix="nearfeed-bench-") as folder:
        targets, results = Path(folder, "targets.json"), Path(folder, "results.bin")
        targets.write_text("".join(f"{target(base, each)}\n" for each in requests))
        vegeta = generator("vegeta")
        attack = [
            vegeta, "attack", "-format=json", f"-targets={targets}", f"-output={results}",
            f"-rate={max(1, round(10 * rate))}/10s", f"-duration={seconds:g}s",
            f"-timeout={ANSWER_SECONDS}s", f"-max-workers={_IN_FLIGHT}", f"-connections={_IN_FLIGHT}",
            f"-max-body={-1 if whole else _KEPT_BYTES}",
        ]  # fmt: skip
        subprocess.run(attack, check=True, timeout=seconds + 2 * ANSWER_SECONDS)
        encoded = subprocess.run(
            [vegeta, "encode", "-to=csv", str(results)],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
    return parsed(encoded.stdout.splitlines(), seconds)


def target(base: str, request: Request) -> str:
    """A request as vegeta reads it."""
    described: dict[str, object] = {"method": request.method, "url": base + request.path}
    if request.body:
        described["body"] = base64.b64encode(request.body.encode()).decode()
        described["header"] = {"Content-Type": ["application/json"]}
    return json.dumps(described)


def parsed(lines: Iterable[str], offered: float) -> Load:
    """What vegeta's CSV says: due time (ns), status, latency (ns), bytes out and in, error, body in base64.

    `offered` are the seconds in which requests were sent. Raises RuntimeError where none was.
    """
    began, took = [], []
    counts = dict.fromkeys(("good", "degraded", "refused", "failed"), 0)
    for due, status, latency, _, _, _, body, *_ in csv.reader(lines):
        began.append(int(due))
        took.append(int(latency))
        counts[_kind(int(status), body)] += 1
    if not began:
        raise RuntimeError("vegeta has sent nothing")
    ended = np.add(began, took).max()
    p50, p95, p99, slowest = np.percentile(took, [50, 95, 99, 100]) / 1e6
    seconds = max(offered, float(ended - min(began)) / 1e9)
    return Load(seconds, **counts, p50=p50, p95=p95, p99=p99, slowest=slowest)


def _kind(status: int, body: str) -> str:
    if status == _UNAVAILABLE:
        return "refused"
    if status not in _OK:
        return "failed"
    return "degraded" if _DEGRADED in base64.b64decode(body) else "good"
