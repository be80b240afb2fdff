"""One writer at a time of what a reader was served, and of what came of it."""

from collections.abc import Collection
from zlib import crc32

from sqlalchemy import Connection

from nearfeed_contracts.tables import ledger_locks
from nearfeed_recommender.identity.links import kin_of
from nearfeed_runtime.sql import claim

_SLOTS = 65_536


def claim_readers(transaction: Connection, user_ids: Collection[str]) -> None:
    """Keeps others from writing of these readers until the transaction ends; waits for those who are at it.

    What is read after it is what those have left. All ids of a reader are kept.
    """
    readers = set(user_ids).union(*kin_of(transaction, user_ids).values())
    slots = {crc32(reader.encode()) % _SLOTS for reader in readers}
    claim(transaction, ledger_locks, [{"slot": slot} for slot in slots])
