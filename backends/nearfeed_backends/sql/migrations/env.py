"""Runs the revisions on the connection of `nearfeed_backends.sql.database`, in its transaction."""

from alembic import context

from nearfeed_contracts.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    transactional_ddl=connection.dialect.name == "sqlite",
)
context.run_migrations()
