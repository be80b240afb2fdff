"""How often a key, or a reader with a token, may call: counted by each process for itself.

A sliding window: the calls of this minute, and those of the one before by the share of it that the last
sixty seconds still hold. So at a time there are two numbers for a caller, however many calls they make.
"""

import math
import time
from functools import lru_cache

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import RateLimiter, SlidingWindowCounterRateLimiter


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
