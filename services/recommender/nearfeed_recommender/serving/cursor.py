"""Cursors: where a page ends in its ranking, signed."""

import base64
import binascii
import hashlib
import hmac

import orjson

from nearfeed_contracts.errors import NearfeedError

_SIGNATURE_BYTES = 16


class InvalidCursorError(NearfeedError):
    """A cursor that this service did not make for this user."""


def sign_cursor(secret: bytes, user_id: str, request_id: str, position: int) -> str:
    """Request id and position, signed over the user too."""
    payload = f"{request_id}.{position}"
    raw = _signature(secret, user_id, payload) + payload.encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_cursor(secret: bytes, user_id: str, cursor: str) -> tuple[str, int]:
    """Request id and position. Raises InvalidCursorError."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:].decode()
        genuine = hmac.compare_digest(signature, _signature(secret, user_id, payload))
        request_id, position = payload.rsplit(".", 1)
        if genuine:
            return request_id, int(position)
    except (binascii.Error, ValueError):
        pass
    raise InvalidCursorError("cursor: it was not made by this service for this reader.")


def _signature(secret: bytes, user_id: str, payload: str) -> bytes:
    message = orjson.dumps([user_id, payload])
    return hmac.new(secret, message, hashlib.sha256).digest()[:_SIGNATURE_BYTES]
