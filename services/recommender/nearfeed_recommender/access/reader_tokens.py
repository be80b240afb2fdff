"""Tokens (JWT) with which readers call for themselves: who signed one, until when it holds, whose it is.

The algorithm is that of the key, whatever the token's header says (RFC 8725, section 3.1).
"""

from dataclasses import dataclass

import jwt
from pydantic import TypeAdapter, ValidationError

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.fields import Id
from nearfeed_recommender.access.token_keys import KeyOf

_LEEWAY_SECONDS = 30  # by which clocks may differ
_READER: TypeAdapter[str] = TypeAdapter(Id)


class TokenError(NearfeedError):
    """A token that does not hold."""


@dataclass(frozen=True)
class Tokens:
    """How tokens are verified: by whose key, for whom, from whom. An empty text is not asked for."""

    key_of: KeyOf
    audience: str = ""
    issuer: str = ""


def looks_like_token(text: str) -> bool:
    return text.count(".") == 2


def reader_of(tokens: Tokens, token: str) -> str:
    """The reader (`sub`) whose token it is. Raises TokenError and TokenKeysUnavailableError."""
    try:
        found = tokens.key_of(jwt.get_unverified_header(token).get("kid"))
        if found is None:
            raise TokenError("The token is signed by a key that is not known.")
        claims = jwt.decode(
            token,
            found.key,
            algorithms=[found.algorithm],
            audience=tokens.audience or None,
            issuer=tokens.issuer or None,
            leeway=_LEEWAY_SECONDS,
            options={"require": _required(tokens)},
        )
        return _READER.validate_python(claims["sub"])
    except jwt.ExpiredSignatureError:
        raise TokenError("The token has expired.") from None
    except jwt.PyJWTError as error:
        raise TokenError(f"The token does not hold: {error}.") from None
    except ValidationError as error:
        raise TokenError(f"The token's sub is no reader's id: {error.errors()[0]['msg']}.") from None


def _required(tokens: Tokens) -> list[str]:
    claims = {"exp": True, "sub": True, "aud": tokens.audience, "iss": tokens.issuer}
    return [name for name, wanted in claims.items() if wanted]
