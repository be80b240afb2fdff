"""Installations of Nearfeed on the servers of `make servers`, side by side with others."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import kafka
from sqlalchemy import create_engine, text

from nearfeed_backends.kafka.settings import read_url
from nearfeed_backends.opening import open_store

_ACCOUNT = "mysql+mysqlconnector://nearfeed:nearfeed@127.0.0.1"
_COMMAND_SECONDS = 600


@dataclass(frozen=True)
class Installation:
    """Where one installation has its data. `folder` takes the logs of its processes and what is its own."""

    folder: Path
    database_url: str
    log_url: str
    vectors_url: str
    runs_url: str

    def environment(self, **settings: str) -> dict[str, str]:
        """The variables of its processes; `settings` are named without their prefix, in lower case."""
        own = {
            "database_url": self.database_url,
            "log_url": self.log_url,
            "vectors_url": self.vectors_url,
            "runs_url": self.runs_url,
            "data_dir": str(self.folder / "data"),
            "secret": "of a deployment on loopback",
            "log_level": "WARNING",
        }
        named = {f"NEARFEED_{name.upper()}": value for name, value in (own | settings).items()}
        return {**os.environ, "DGLBACKEND": "pytorch", **named}

    def run(self, *command: str, **settings: str) -> str:
        """What a command prints. Raises RuntimeError with all it says where it fails."""
        done = subprocess.run(
            located(command),
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(
                f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}"
            )
        return done.stdout


@contextmanager
def fresh_installation(
    folder: Path, *, vectors_url: str, log_url: str, database_port: int, runs_url: str
) -> Iterator[Installation]:
    """An installation with a database, a namespace and a prefix of its own, which are removed after it."""
    name = uuid.uuid4().hex
    vectors_url, log_url = (
        with_parameter(vectors_url, "namespace", name),
        with_parameter(log_url, "prefix", name),
    )
    folder.mkdir(parents=True, exist_ok=True)
    with database(database_port) as database_url:
        try:
            yield Installation(folder, database_url, log_url, vectors_url, runs_url)
        finally:
            _remove_spaces(vectors_url)
            _remove_topics(log_url, name)


def with_parameter(url: str, name: str, value: str) -> str:
    """The URL with one parameter more."""
    return f"{url}{'&' if '?' in url else '?'}{name}={value}"


@contextmanager
def database(port: int) -> Iterator[str]:
    """The URL of an empty database on MariaDB that is dropped afterwards."""
    name = f"nearfeed_{uuid.uuid4().hex}"
    admin = create_engine(f"{_ACCOUNT}:{port}/nearfeed", isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} CHARACTER SET latin1"))
    try:
        yield f"{_ACCOUNT}:{port}/{name}"
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}"))
        admin.dispose()


def located(command: tuple[str, ...]) -> list[str]:
    """The command with the script of this environment."""
    return [str(Path(sys.executable).parent / command[0]), *command[1:]]


def _remove_spaces(vectors_url: str) -> None:
    with closing(open_store(vectors_url)) as store:
        for space in store.spaces():
            store.drop_space(space)


def _remove_topics(log_url: str, prefix: str) -> None:
    with closing(kafka.KafkaAdminClient(bootstrap_servers=list(read_url(log_url).servers))) as admin:
        admin.delete_topics([topic for topic in admin.list_topics() if topic.startswith(prefix)])
