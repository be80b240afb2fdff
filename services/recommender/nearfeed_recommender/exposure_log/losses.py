"""Sections of answers that the ledger lacks, in SQL, as they were found missing."""

from functools import partial

from sqlalchemy import Connection, Engine, delete

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import ledger_losses
from nearfeed_runtime.sql import committed, upsert


def keep_loss(engine: Engine, loss_id: str, reason: str, sections: int) -> None:
    """Keeps how many sections were lost; told again with the same id, it counts once."""
    row = {"loss_id": loss_id, "found_at": now_micros(), "reason": reason, "sections": sections}
    committed(engine, partial(upsert, table=ledger_losses, rows=[row], keep=["found_at"]))


def prune_losses(transaction: Connection, before: int) -> None:
    transaction.execute(delete(ledger_losses).where(ledger_losses.c.found_at < before))
