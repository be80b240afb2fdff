"""A Nearfeed server with the demo's data, as its own process on loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

START_SECONDS = 120
_LOG_END = 1_000  # characters


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nearfeed(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "nearfeed_standalone", *arguments]


@contextmanager
def served(data_dir: Path, **settings: str) -> Iterator[httpx.Client]:
    """Serves a data folder; the client is ready when the server is. `settings` are variables."""
    port = free_port()
    command = nearfeed("serve", "--port", str(port), "--data-dir", str(data_dir))
    process = subprocess.Popen(command, env={**os.environ, "NEARFEED_LOG_LEVEL": "WARNING", **settings})
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
    try:
        wait_ready(client, process)
        yield client
    finally:
        client.close()
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_ready(client: httpx.Client, process: "subprocess.Popen[bytes]", log: Path | None = None) -> None:
    """Raises RuntimeError, with the end of its log, where the server ends or takes too long."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with status {process.returncode}{_end_of(log)}")
        try:
            if client.get("/readyz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the server was not ready in time{_end_of(log)}")


def _end_of(log: Path | None) -> str:
    return f"; its log ends with: {log.read_text()[-_LOG_END:]}" if log else ""
