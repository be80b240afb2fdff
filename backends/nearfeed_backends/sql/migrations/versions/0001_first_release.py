"""The tables of Nearfeed's first release, one function per writer."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, sqlite

revision = "0001"
down_revision = None


def exact_string(length: int) -> sa.types.TypeEngine[str]:
    """A string that is compared byte for byte."""
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
    )


ID = exact_string(128)
TEXT = sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql")
BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")
AUTO = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")


def upgrade() -> None:
    create_tables_of_the_api()
    create_tables_of_the_consumer()
    create_tables_of_the_indexer()
    create_tables_that_others_write()


def create_tables_of_the_api() -> None:
    op.create_table(
        "items",
        sa.Column("item_id", ID, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("community_id", ID, nullable=False),
        sa.Column("author_id", ID, nullable=False),
        sa.Column("title", exact_string(300), nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("tags", TEXT, nullable=False),
        sa.Column("language", sa.String(length=35), nullable=True),
        sa.Column("url", sa.String(length=2000), nullable=True),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("item_id"),
    )
    op.create_index("items_by_community", "items", ["community_id", "published_at"])
    op.create_index("items_by_time", "items", ["published_at"])
    op.create_table(
        "communities",
        sa.Column("community_id", ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("community_id"),
    )
    op.create_table(
        "memberships",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("community_id", ID, nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "community_id"),
    )
    op.create_table(
        "reader_controls",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("control", sa.String(length=16), nullable=False),
        sa.Column("target", ID, nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "control", "target"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", AUTO, autoincrement=True, nullable=False),
        sa.Column("topic", sa.String(length=64), nullable=False),
        sa.Column("key", exact_string(257), nullable=False),
        sa.Column("partition_key", ID, nullable=True),
        sa.Column("value", BLOB, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "feed_pages",
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("page", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("request_id"),
    )
    op.create_index("feed_pages_by_time", "feed_pages", ["created_at"])


def create_tables_of_the_consumer() -> None:
    op.create_table(
        "interactions",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("item_id", ID, nullable=False),
        sa.Column("click_at", sa.BigInteger(), nullable=True),
        sa.Column("read_at", sa.BigInteger(), nullable=True),
        sa.Column("like_at", sa.BigInteger(), nullable=True),
        sa.Column("unlike_at", sa.BigInteger(), nullable=True),
        sa.Column("comment_at", sa.BigInteger(), nullable=True),
        sa.Column("share_at", sa.BigInteger(), nullable=True),
        sa.Column("save_at", sa.BigInteger(), nullable=True),
        sa.Column("unsave_at", sa.BigInteger(), nullable=True),
        sa.Column("hide_at", sa.BigInteger(), nullable=True),
        sa.Column("report_at", sa.BigInteger(), nullable=True),
        sa.Column("rating_at", sa.BigInteger(), nullable=True),
        sa.Column("rating_value", sa.Float(precision=53), nullable=True),
        sa.Column("newest_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "item_id"),
    )
    op.create_index("interactions_by_item", "interactions", ["item_id"])
    op.create_index("interactions_by_reader", "interactions", ["user_id", "newest_at"])
    op.create_table(
        "user_vectors",
        sa.Column("space", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("vector", BLOB, nullable=False),
        sa.Column("readings", sa.Integer(), nullable=False),
        sa.Column("stale", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("space", "user_id"),
    )
    op.create_index("user_vectors_stale", "user_vectors", ["stale"])
    op.create_table(
        "reader_builds",
        sa.Column("space", ID, nullable=False),
        sa.Column("change_id", sa.BigInteger(), nullable=False),
        sa.Column("readers", sa.Integer(), nullable=False),
        sa.Column("built_at", sa.BigInteger(), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("space"),
    )
    op.create_table(
        "erased_users",
        sa.Column("user_hash", sa.String(length=64), nullable=False),
        sa.Column("erased_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_hash"),
    )


def create_tables_of_the_indexer() -> None:
    op.create_table(
        "item_contexts",
        sa.Column("space", ID, nullable=False),
        sa.Column("item_id", ID, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("context", BLOB, nullable=True),
        sa.Column("inferred", sa.Boolean(), nullable=False),
        sa.Column("change_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("space", "item_id"),
    )
    op.create_index("item_contexts_by_change", "item_contexts", ["space", "change_id"])
    op.create_table(
        "change_sequence",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "spaces",
        sa.Column("space", ID, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("manifest", TEXT, nullable=False),
        sa.Column("run_url", sa.String(length=2000), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("loaded_at", sa.BigInteger(), nullable=True),
        sa.Column("activated_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("space"),
    )
    op.create_table(
        "active_space",
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("space", ID, nullable=False),
        sa.Column("activated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["space"],
            ["spaces.space"],
        ),
        sa.PrimaryKeyConstraint("slot"),
    )


def create_tables_that_others_write() -> None:
    op.create_table(
        "positions",
        sa.Column("consumer_group", sa.String(length=64), nullable=False),
        sa.Column("topic", sa.String(length=64), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("consumer_group", "topic", "partition"),
    )
    op.create_table(
        "imports",
        sa.Column("file_hash", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("rows_done", sa.BigInteger(), nullable=False),
        sa.Column("rows_refused", sa.BigInteger(), nullable=False),
        sa.Column("finished", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("file_hash", "kind"),
    )
