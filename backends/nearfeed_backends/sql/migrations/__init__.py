"""The revisions of the SQL schema, and how a database is brought to the newest one."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from nearfeed_contracts.errors import NearfeedError

HEAD = "0006"
_FOLDER = Path(__file__).parent


class NewerSchemaError(NearfeedError):
    """The database holds a revision that this release does not know."""


class ForeignTablesError(NearfeedError):
    """The database holds tables, but not Nearfeed's."""


def current_revision(connection: Connection) -> str | None:
    """The revision that a database is at; None for one without Nearfeed's tables."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def migrate(connection: Connection) -> None:
    """Brings the schema to HEAD within the caller's transaction.

    Raises NewerSchemaError and ForeignTablesError before anything is changed.
    """
    current = current_revision(connection)
    if current == HEAD:
        return
    if current is None:
        _refuse_foreign_tables(connection)
    _upgrade(connection, current)


def _refuse_foreign_tables(connection: Connection) -> None:
    foreign = sorted(inspect(connection).get_table_names())
    if foreign:
        raise ForeignTablesError(
            f"NEARFEED_DATABASE_URL: the database has a table {foreign[0]} that is not Nearfeed's; "
            "name an empty database."
        )


def _upgrade(connection: Connection, current: str | None) -> None:
    # Alembic takes half a second to import, which a database at HEAD does not need.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise NewerSchemaError(
            f"NEARFEED_DATABASE_URL: the database was written by a newer Nearfeed (schema {current}); "
            "install that release, or name another database."
        )
    command.upgrade(config, "head")
