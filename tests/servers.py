"""Where the real servers of `make servers` are, for tests marked `server`.

A server that is not there skips the test with the reason; with REQUIRE_SERVERS=1 it fails it.
"""

import os
import socket
from contextlib import AbstractContextManager

import pytest
from benchmarks.installation import database


def server_port(name: str, setting: str, default: int) -> int:
    """The port of a server on loopback that answers; else the test is skipped, or fails."""
    port = int(os.environ.get(setting, default))
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError as error:
        reason = f"{name} does not answer on 127.0.0.1:{port} ({error}); run `make servers`, or set {setting}"
        if os.environ.get("REQUIRE_SERVERS") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return port


def kafka_url(partitions: int = 4, prefix: str = "") -> str:
    """Kafka with a group protocol that notices a dead member after six seconds."""
    port = server_port("Kafka", "NEARFEED_KAFKA_PORT", 19092)
    timing = "session_timeout_ms=6000&heartbeat_interval_ms=1000"
    return f"kafka://127.0.0.1:{port}?partitions={partitions}&{timing}" + (
        f"&prefix={prefix}" if prefix else ""
    )


def fresh_database() -> AbstractContextManager[str]:
    """The URL of an empty database on MariaDB that is dropped afterwards."""
    return database(server_port("MariaDB", "NEARFEED_MARIADB_PORT", 13306))
