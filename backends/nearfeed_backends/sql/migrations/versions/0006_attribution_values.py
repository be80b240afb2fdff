"""The values of an attribution are the field's terms.

On MySQL each statement is committed by itself, so every one may find its work done.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

NAMES = {
    "told": "explicit",
    "window": "view_through",
    "none": "unattributed",
    "unknown": "not_in_response",
    "forged": "invalid_request_id",
}


def upgrade() -> None:
    with op.batch_alter_table("outcomes") as table:
        table.alter_column(
            "attribution", existing_type=sa.String(16), type_=sa.String(32), existing_nullable=False
        )
    outcomes = sa.table("outcomes", sa.column("attribution", sa.String))
    renamed = sa.case(NAMES, value=outcomes.c.attribution, else_=outcomes.c.attribution)
    op.execute(outcomes.update().where(outcomes.c.attribution.in_(NAMES)).values(attribution=renamed))
