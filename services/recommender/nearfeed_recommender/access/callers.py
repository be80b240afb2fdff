"""Who calls: by a key of the settings, a key in SQL, or a user's own token; and how often they may."""

import hmac
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import get_args

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import RateLimiter, SlidingWindowCounterRateLimiter
from sqlalchemy import Engine

from nearfeed_contracts.errors import NearfeedError
from nearfeed_recommender.access.keys.live import LiveKeys, find_key
from nearfeed_recommender.access.reader_tokens import Tokens, looks_like_token, reader_of
from nearfeed_recommender.access.token_keys import KeySet, open_token_keys
from nearfeed_recommender.settings import RecommenderSettings, Scope


def open_limiter() -> RateLimiter:
    return SlidingWindowCounterRateLimiter(MemoryStorage())


def seconds_to_wait(limiter: RateLimiter, caller: str, per_minute: int) -> int:
    """Counts a call; 0 where it may pass, else the seconds, rounded up, after which one may again.

    `per_minute` of 0 is no limit.
    """
    if per_minute == 0:
        return 0
    limit = _limit(per_minute)
    if limiter.hit(limit, caller):
        return 0
    return max(1, math.ceil(limiter.get_window_stats(limit, caller).reset_time - time.time()))


@lru_cache(maxsize=1_024)
def _limit(per_minute: int) -> RateLimitItem:
    return RateLimitItemPerMinute(per_minute)


ANYONE = "anyone"
READER_SCOPES: frozenset[Scope] = frozenset({"feed", "events"})
_ALL_SCOPES: frozenset[Scope] = frozenset(get_args(Scope))


class UnknownCallerError(NearfeedError):
    """A call without a key, or with one that does not hold."""


@dataclass(frozen=True)
class Caller:
    """Who calls, by the name that the audit knows them by, and what they may do.

    `counted_as` tells whose calls are counted together; `per_minute` is how many there may be (0: any).
    With a `reader` the call is theirs, and for them alone.
    """

    name: str
    scopes: frozenset[Scope]
    counted_as: str
    per_minute: int = 0
    reader: str | None = None


@dataclass(frozen=True)
class Access:
    """What tells callers: the keys of SQL, how tokens are verified (None: there are none), their calls."""

    keys: LiveKeys
    tokens: Tokens | None
    key_set: KeySet | None
    limiter: RateLimiter


def open_access(settings: RecommenderSettings, engine: Engine) -> Access:
    """Access as it is now. Raises SettingsError."""
    keys = LiveKeys(engine)
    keys.refresh()
    key_of, key_set = open_token_keys(settings)
    tokens = Tokens(key_of, settings.jwt_audience, settings.jwt_issuer) if key_of else None
    return Access(keys, tokens, key_set, open_limiter())


def identify(access: Access, settings: RecommenderSettings, given: str | None) -> Caller:
    """Whose call it is; anyone may do everything where there are neither keys nor tokens.

    Raises UnknownCallerError, TokenError and TokenKeysUnavailableError.
    """
    snapshot = access.keys.current
    if not (settings.api_keys or snapshot.guarded or access.tokens):
        return Caller(ANYONE, _ALL_SCOPES, ANYONE)
    if given is None:
        raise UnknownCallerError("An API key is needed: Authorization: Bearer KEY.")
    key = find_key(snapshot, given)
    if key is not None:
        limit = settings.calls_per_minute if key.per_minute is None else key.per_minute
        return Caller(f"key:{key.name}", key.scopes, f"key:{key.key_id}", limit)
    found = _in_settings(settings.api_keys, given)
    if found is not None:
        number, scopes = found
        name = f"key:environment-{number}"
        return Caller(name, frozenset(scopes), name, settings.calls_per_minute)
    if access.tokens and looks_like_token(given):
        reader = reader_of(access.tokens, given)
        name = f"reader:{reader}"
        return Caller(name, READER_SCOPES, name, settings.reader_calls_per_minute, reader)
    raise UnknownCallerError("The API key is not known, was revoked or has expired.")


def _in_settings(keys: Mapping[str, Sequence[Scope]], given: str) -> tuple[int, Sequence[Scope]] | None:
    """The place, from 1, and the scopes of a key that the settings name."""
    for number, (key, scopes) in enumerate(keys.items(), 1):
        if hmac.compare_digest(key.encode(), given.encode()):
            return number, scopes
    return None
