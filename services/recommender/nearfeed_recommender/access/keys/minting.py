"""What a key is made of: `nf_<key id>_<secret>`.

The secret is 32 bytes of the system's random generator, and SQL keeps no more than its SHA-256. The slow
and salted hashes that passwords need are for what people choose: among 2^256 secrets nobody tries any, with
a table or without, and each call is checked in a microsecond.
"""

import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

_ID_BYTES = 6
_SECRET_BYTES = 32
_KEY = re.compile(rf"nf_([0-9a-f]{{{2 * _ID_BYTES}}})_([0-9a-f]{{{2 * _SECRET_BYTES}}})")


class MintedKey(NamedTuple):
    """A new key; `text` is told once and kept nowhere."""

    key_id: str
    key_hash: str
    text: str


def mint_key() -> MintedKey:
    key_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES)
    return MintedKey(key_id, hash_of(secret), f"nf_{key_id}_{secret}")


def hash_of(secret: str) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def split_key(text: str) -> tuple[str, str] | None:
    """Key id and secret; None for what has not the form of a key."""
    found = _KEY.fullmatch(text)
    return (found[1], found[2]) if found else None


def is_secret_of(secret: str, key_hash: str) -> bool:
    """In a time that tells nothing of the hash."""
    return hmac.compare_digest(hash_of(secret), key_hash)
