"""Nearfeed as it is deployed: every service its own process, over servers that are named by URLs."""

import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from benchmarks.installation import Installation, located
from benchmarks.server import free_port, wait_ready

_STOP_SECONDS = 75
_HEALTH = {
    "consumer": ("nearfeed-recommender", "consume"),
    "indexer": ("nearfeed-indexer", "run"),
    "embedder": ("nearfeed-embedder", "run"),
}


@contextmanager
def deployed(installation: Installation, **settings: str) -> Iterator[httpx.Client]:
    """Runs API, consumer, indexer and streaming embedder; the API's client comes when all are ready."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(_listening(installation, name, command, "health_port", settings))
            for name, command in _HEALTH.items()
        ]
        client = stack.enter_context(api(installation, **settings))
        for health, process, log in started:
            wait_ready(health, process, log)
        yield client


@contextmanager
def api(installation: Installation, **settings: str) -> Iterator[httpx.Client]:
    """Runs the API alone; the client comes when it is ready."""
    command = ("nearfeed-recommender", "api")
    with _listening(installation, "api", command, "port", settings) as (client, process, log):
        wait_ready(client, process, log)
        yield client


@contextmanager
def _listening(
    installation: Installation,
    name: str,
    command: tuple[str, ...],
    port_setting: str,
    settings: Mapping[str, str],
) -> "Iterator[tuple[httpx.Client, subprocess.Popen[bytes], Path]]":
    """A process, a client for the port that it listens on, its log. Raises RuntimeError if it ends badly."""
    port = free_port()
    environment = installation.environment(**{**settings, port_setting: str(port)})
    log = installation.folder / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(located(command), env=environment, stdout=output, stderr=output)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client, process, log
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(_STOP_SECONDS)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {status}; see {log}")
