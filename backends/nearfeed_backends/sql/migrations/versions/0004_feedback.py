"""What came of what was served: outcomes, experiments, resets of readers, keys of the API, the audit.

On MySQL each statement is committed by itself, so every one may find its work done.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, sqlite

revision = "0004"
down_revision = "0003"


def exact_string(length: int) -> sa.types.TypeEngine[str]:
    """A string that is compared byte for byte."""
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
    )


ID = exact_string(128)
TEXT = sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql")
DOUBLE = sa.Float(53).with_variant(mysql.DOUBLE(asdecimal=False), "mysql")
AUTO = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")


def upgrade() -> None:
    widen_ledger()
    create_outcomes()
    create_experiments()
    create_readers()
    create_access()


def widen_ledger() -> None:
    """Request ids are signed, and longer than before; answers tell of experiments."""
    with op.batch_alter_table("feed_pages") as pages:
        pages.alter_column(
            "request_id", type_=ID, existing_type=sa.String(length=64), existing_nullable=False
        )
    add_column("served_requests", sa.Column("experiment", ID))
    add_column("served_requests", sa.Column("arm", ID))
    add_column("served_requests", sa.Column("propensity", DOUBLE))
    add_column("served_requests", sa.Column("unit_id", ID))
    state = sa.Column("state", sa.String(length=16), nullable=False, server_default="whole")
    add_column("served_requests", state)
    add_column("served_requests", sa.Column("took_ms", DOUBLE))
    create_index("served_requests_by_experiment", "served_requests", ["experiment", "served_at"])
    create_index("served_requests_by_unit", "served_requests", ["unit_id"])


def create_outcomes() -> None:
    create_table(
        "outcomes",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("item_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("value", DOUBLE),
        sa.Column("request_id", ID),
        sa.Column("attribution", sa.String(length=16), nullable=False),
        sa.Column("impression_at", sa.BigInteger()),
        sa.Column("experiment", ID),
        sa.Column("arm", ID),
        sa.PrimaryKeyConstraint("user_id", "item_id", "kind", "occurred_at"),
    )
    create_index("outcomes_by_request", "outcomes", ["request_id", "item_id"])
    create_index("outcomes_by_experiment", "outcomes", ["experiment", "occurred_at"])
    create_index("outcomes_by_time", "outcomes", ["occurred_at"])
    slot = sa.Column("slot", sa.Integer(), nullable=False, autoincrement=False)
    create_table("ledger_locks", slot, sa.PrimaryKeyConstraint("slot"))
    create_table(
        "ledger_losses",
        sa.Column("loss_id", sa.String(length=32), nullable=False),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("sections", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("loss_id"),
    )
    create_index("ledger_losses_by_time", "ledger_losses", ["found_at"])


def create_experiments() -> None:
    create_table(
        "experiments",
        sa.Column("name", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("document", TEXT, nullable=False),
        sa.Column("traffic", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("stopped_at", sa.BigInteger()),
        sa.Column("stop_reason", TEXT),
        sa.PrimaryKeyConstraint("name"),
        sa.UniqueConstraint("number"),
    )
    create_index("experiments_by_revision", "experiments", ["revision"], unique=True)
    create_table(
        "experiment_results",
        sa.Column("experiment", ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("document", TEXT, nullable=False),
        sa.Column("points", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("experiment", "at"),
    )


def create_readers() -> None:
    create_table(
        "reader_units",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("unit_id", ID, nullable=False),
        sa.Column("merged_at", sa.BigInteger(), nullable=False),
        sa.Column("first_served_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("user_id"),
    )
    create_index("reader_units_by_unit", "reader_units", ["unit_id"])
    create_table(
        "reader_resets",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("reset_at", sa.BigInteger(), nullable=False),
        sa.Column("controls_reset_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
    )
    create_index("reader_controls_by_target", "reader_controls", ["target"])


def create_access() -> None:
    create_table(
        "api_keys",
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", TEXT, nullable=False),
        sa.Column("per_minute", sa.Integer()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("key_id"),
    )
    create_table(
        "audit",
        sa.Column("number", AUTO, autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", ID, nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", TEXT, nullable=False),
        sa.Column("detail", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    create_index("audit_by_time", "audit", ["at"])


def create_table(name: str, *parts: sa.schema.SchemaItem) -> None:
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts)


def create_index(name: str, table: str, columns: list[str], *, unique: bool = False) -> None:
    if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, columns, unique=unique)


def add_column(table: str, column: sa.Column[Any]) -> None:
    if column.name not in {each["name"] for each in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, column)
