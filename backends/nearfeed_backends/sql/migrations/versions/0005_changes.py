"""Numbers of changes of posts and revisions of users, by which what is kept in memory follows SQL.

On MySQL each statement is committed by itself, so every one may find its work done.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"

ID = sa.String(128).with_variant(
    mysql.VARCHAR(128, charset="utf8mb4", collation="utf8mb4_bin"),
    "mysql",
)
USER_TABLES = ("interactions", "memberships", "reader_controls", "reader_resets", "user_vectors")


def upgrade() -> None:
    number_items()
    number_users()


def number_items() -> None:
    """All posts that there are have the change 1."""
    columns = {each["name"] for each in sa.inspect(op.get_bind()).get_columns("items")}
    if "change_id" not in columns:
        op.add_column("items", sa.Column("change_id", sa.BigInteger(), nullable=False, server_default="0"))
    if "items_by_change" not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("items")}:
        op.create_index("items_by_change", "items", ["change_id"])
    op.execute("UPDATE items SET change_id = 1 WHERE change_id = 0")
    op.execute(
        "INSERT INTO change_sequence (name, value) SELECT 'items', 1 FROM (SELECT count(*) AS found "
        "FROM change_sequence WHERE name = 'items') AS present WHERE found = 0"
    )


def number_users() -> None:
    """All users of whom something is known have the revision 1."""
    if not sa.inspect(op.get_bind()).has_table("user_revisions"):
        op.create_table(
            "user_revisions",
            sa.Column("user_id", ID, nullable=False),
            sa.Column("revision", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint("user_id"),
        )
    known = " UNION ".join(f"SELECT user_id FROM {table}" for table in USER_TABLES)  # noqa: S608
    op.execute(
        f"INSERT INTO user_revisions (user_id, revision) SELECT known.user_id, 1 FROM ({known}) AS known "  # noqa: S608
        "LEFT JOIN user_revisions AS present ON present.user_id = known.user_id WHERE present.user_id IS NULL"
    )
