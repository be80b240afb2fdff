"""Request ids: signed, so that one of this service is known even where the ledger has lost the answer.

An id is base64url without padding of

    time in microseconds (7 bytes), nonce (8), configuration version, (experiment, arm)*, signature (12)

in which the numbers after the nonce are LEB128: seven bits a byte, the lowest first. The signature is
HMAC-SHA256 over the reader and all before it, cut to 96 bits.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.fields import MAX_ID

NONCE_BYTES = 8
_TIME_BYTES = 7
_SIGNATURE_BYTES = 12
_HEAD_BYTES = _TIME_BYTES + NONCE_BYTES


class RequestIdError(NearfeedError):
    """More than a request id can carry."""


@dataclass(frozen=True)
class RequestId:
    """What a request id says of its answer; `arms` are pairs of an experiment's number and an arm's index."""

    served_at: int
    nonce: bytes
    config_version: int
    arms: tuple[tuple[int, int], ...]


def new_nonce() -> bytes:
    """What tells an answer from all others; also the chance that bandits draw by in it."""
    return secrets.token_bytes(NONCE_BYTES)


def sign_request_id(
    secret: bytes,
    user_id: str,
    served_at_micros: int,
    config_version: int,
    arms: Sequence[tuple[int, int]],
    nonce: bytes,
) -> str:
    """The id of an answer; numbers are whole and not negative. Raises RequestIdError."""
    numbers = [config_version, *(number for arm in arms for number in arm)]
    body = served_at_micros.to_bytes(_TIME_BYTES, "big") + nonce + b"".join(map(_leb128, numbers))
    request_id = _encode(body + _signature(secret, user_id, body))
    if len(nonce) != NONCE_BYTES or len(request_id) > MAX_ID:
        raise RequestIdError(
            f"request id: holds a nonce of {len(nonce)} bytes and {len(arms)} arms; it takes {NONCE_BYTES} "
            f"bytes, and {MAX_ID} characters in all: let fewer experiments meet in one answer."
        )
    return request_id


def read_request_id(secret: bytes, user_id: str, request_id: str) -> RequestId | None:
    """What an id says; None for one that was not made by this service for this reader."""
    try:
        raw = base64.urlsafe_b64decode(request_id + "=" * (-len(request_id) % 4))
    except ValueError:
        return None
    body, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    genuine = hmac.compare_digest(signature, _signature(secret, user_id, body))
    if not genuine or _encode(raw) != request_id:
        return None
    config_version, *arms = _numbers(body[_HEAD_BYTES:])
    return RequestId(
        int.from_bytes(body[:_TIME_BYTES], "big"),
        body[_TIME_BYTES:_HEAD_BYTES],
        config_version,
        tuple(zip(arms[::2], arms[1::2], strict=True)),
    )


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _signature(secret: bytes, user_id: str, body: bytes) -> bytes:
    message = b"request id\0" + user_id.encode() + b"\0" + body
    return hmac.new(secret, message, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


def _leb128(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _numbers(raw: Iterable[int]) -> Iterator[int]:
    number = shift = 0
    for byte in raw:
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            yield number
            number = shift = 0
