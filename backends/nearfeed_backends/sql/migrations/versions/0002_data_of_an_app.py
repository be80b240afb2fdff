"""Room for what an app's own database and topics bring: how far a query was read, and long topic names."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"

TOPIC = sa.String(255).with_variant(mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql")
TEXT = sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql")


def upgrade() -> None:
    """On MySQL each statement is committed by itself, so both may find their work done."""
    with op.batch_alter_table("positions") as positions:
        positions.alter_column(
            "topic", type_=TOPIC, existing_type=sa.String(length=64), existing_nullable=False
        )
    columns = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("imports")}
    if "read_up_to" not in columns:
        op.add_column("imports", sa.Column("read_up_to", TEXT))
