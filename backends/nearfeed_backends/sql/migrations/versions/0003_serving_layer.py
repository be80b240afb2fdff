"""What is served as data, the ledger of what was served, edges and vertices, and pipelines.

On MySQL each statement is committed by itself, so every one may find its work done.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"


def exact_string(length: int) -> sa.types.TypeEngine[str]:
    """A string that is compared byte for byte."""
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
    )


ID = exact_string(128)
LABEL = exact_string(64)
TEXT = sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql")
DOUBLE = sa.Float(53).with_variant(mysql.DOUBLE(asdecimal=False), "mysql")


def upgrade() -> None:
    create_configuration()
    create_ledger()
    create_graph()
    create_pipelines()


def create_configuration() -> None:
    create_table(
        "config_versions",
        sa.Column("version", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("author", ID, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("document", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    create_table(
        "config_entries",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("document", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("kind", "name", "version"),
    )


def create_ledger() -> None:
    create_table(
        "served_requests",
        sa.Column("request_id", ID, nullable=False),
        sa.Column("section", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("served_at", sa.BigInteger(), nullable=False),
        sa.Column("page", ID, nullable=True),
        sa.Column("provider", ID, nullable=False),
        sa.Column("config_version", sa.BigInteger(), nullable=False),
        sa.Column("space", ID, nullable=True),
        sa.Column("reader", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("request_id", "section"),
    )
    create_index("served_requests_by_reader", "served_requests", ["user_id", "served_at"])
    create_index("served_requests_by_time", "served_requests", ["served_at"])
    create_table(
        "served_items",
        sa.Column("request_id", ID, nullable=False),
        sa.Column("section", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("item_id", ID, nullable=False),
        sa.Column("source", ID, nullable=False),
        sa.Column("score", DOUBLE, nullable=False),
        sa.Column("inputs", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("request_id", "section", "position"),
    )
    create_index("served_items_by_item", "served_items", ["item_id"])
    create_index("interactions_by_time", "interactions", ["newest_at"])
    create_index("items_by_author", "items", ["author_id", "published_at"])


def create_graph() -> None:
    create_table(
        "vertices",
        sa.Column("kind", LABEL, nullable=False),
        sa.Column("vertex_id", ID, nullable=False),
        sa.Column("properties", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("kind", "vertex_id"),
    )
    create_table(
        "edges",
        sa.Column("label", LABEL, nullable=False),
        sa.Column("from_id", ID, nullable=False),
        sa.Column("to_id", ID, nullable=False),
        sa.Column("score", DOUBLE, nullable=False),
        sa.Column("properties", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("label", "from_id", "to_id"),
        sqlite_with_rowid=False,
    )
    create_index("edges_by_score", "edges", ["label", "from_id", "score"])
    create_index("memberships_by_community", "memberships", ["community_id", "joined_at"])


def create_pipelines() -> None:
    create_table(
        "pipeline_runs",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("pipeline", ID, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("definition", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
    )
    create_table(
        "pipeline_steps",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("step", ID, nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("output", TEXT, nullable=True),
        sa.Column("error", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("run_id", "step"),
    )


def create_table(name: str, *parts: sa.schema.SchemaItem, **options: bool) -> None:
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts, **options)


def create_index(name: str, table: str, columns: list[str]) -> None:
    if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, columns)
