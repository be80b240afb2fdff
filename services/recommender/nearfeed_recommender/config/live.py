"""What requests are answered by: the newest version in SQL, which every process looks for again and again."""

import threading
from dataclasses import dataclass

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import Connection, Engine, func, select

from nearfeed_contracts.tables import config_versions
from nearfeed_recommender.config.checks import parse_config
from nearfeed_recommender.config.faults import ConfigError
from nearfeed_recommender.config.schema import Config
from nearfeed_recommender.config.versions import version_of
from nearfeed_runtime.sql import read_connection

logger = structlog.get_logger(__name__)
SERVED = Gauge("nearfeed_config_version", "The version of the configuration that this process serves.")
UNREADABLE = Counter(
    "nearfeed_config_unreadable_total", "Versions of the configuration that this release could not read."
)


@dataclass(frozen=True)
class Snapshot:
    """A version that holds, since `changed_at` in microseconds since 1970; 0 is the default."""

    version: int
    config: Config
    changed_at: int = 0


class LiveConfig:
    """The configuration as this process last saw it. Any thread may read it, and any may refresh it."""

    def __init__(self, engine: Engine, default: Config) -> None:
        self._engine = engine
        self._default = Snapshot(0, default)
        self._current = self._default
        self._newest: int | None = None
        self._refreshing = threading.Lock()

    @property
    def current(self) -> Snapshot:
        """What a request reads once, and keeps to its end."""
        return self._current

    def refresh(self) -> bool:
        """Looks for another version, and tells whether there was one; it costs one look into an index.

        A version that this release cannot read is logged and counted, and the newest that it can read is
        served.
        """
        with self._refreshing, read_connection(self._engine) as connection:
            newest = connection.scalar(select(func.max(config_versions.c.version))) or 0
            if newest == self._newest:
                return False
            before, self._current = self._current, self._newest_readable(connection)
            self._newest = newest
        SERVED.set(self._current.version)
        return self._current != before

    def _newest_readable(self, connection: Connection) -> Snapshot:
        numbers = select(config_versions.c.version).order_by(config_versions.c.version.desc())
        for number in connection.scalars(numbers).all():
            try:
                found = version_of(connection, number)
                return Snapshot(number, parse_config(found.document), found.created_at)
            except (ConfigError, ValueError) as error:
                UNREADABLE.inc()
                logger.error("configuration cannot be read", version=number, error=str(error))
        return self._default
