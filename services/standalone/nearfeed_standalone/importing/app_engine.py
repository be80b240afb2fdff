"""Opens an app's database by any SQLAlchemy URL whose driver is installed; it is only read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from nearfeed_contracts.errors import NearfeedError


class AppDatabaseError(NearfeedError):
    """An app's database that cannot be read; the text says why."""


@contextmanager
def open_app_database(url: str) -> Iterator[Engine]:
    """Raises AppDatabaseError. MySQL's TIMESTAMP columns are read in UTC."""
    engine = _engine(url)
    try:
        _check(engine)
        yield engine
    finally:
        engine.dispose()


def absolute_url(url: str) -> str:
    """The URL for a process in another folder: a SQLite file by its whole path."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return url
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return url
    return parsed.set(database=str(Path(parsed.database).absolute())).render_as_string(hide_password=False)


def format_url(url: URL) -> str:
    """The URL without its password."""
    return url.render_as_string(hide_password=True)


def _engine(url: str) -> Engine:
    try:
        engine = create_engine(make_url(url), pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise AppDatabaseError(
            "--from: names no database; write a SQLAlchemy URL such as "
            "mysql+mysqlconnector://USER:PASSWORD@HOST/DATABASE."
        ) from None
    except ModuleNotFoundError as error:
        raise AppDatabaseError(
            f"--from: the driver {error.name} is not installed; run `pip install {error.name}`, "
            "or name another driver in the URL."
        ) from None
    if engine.dialect.name in ("mysql", "mariadb"):
        event.listen(engine, "connect", _count_time_in_utc)
    return engine


def _count_time_in_utc(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("SET time_zone = '+00:00'")
    cursor.close()


def _check(engine: Engine) -> None:
    """SQLite would make a file that is not there."""
    if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").is_file():
        raise AppDatabaseError(f"--from: there is no file {engine.url.database}; correct the path.")
    try:
        engine.connect().close()
    except DBAPIError as error:
        raise AppDatabaseError(
            f"--from: {format_url(engine.url)} cannot be opened ({error.orig}); "
            "start the server, or correct the address, the name and the password."
        ) from None
