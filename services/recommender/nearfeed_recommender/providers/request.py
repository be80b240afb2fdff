"""A request as all sources of an answer see it, read from SQL once."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import active_space_name
from nearfeed_core.pooling import NEWEST_READINGS
from nearfeed_core.readings import WeightRule, weights_of
from nearfeed_recommender.posts import Audience
from nearfeed_recommender.profiles import Profile, load_profile
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.user_vectors import Pooling


@dataclass(frozen=True)
class Request:
    """`readings` are those of the reader that have a weight, newest first, 512 at most: post and weight.

    `space` is the one that the answer keeps to, None before the first; `profile` what is behind the reader's
    vector in it.
    """

    audience: Audience
    readings: tuple[tuple[str, float], ...]
    space: str | None
    profile: Profile | None
    now: int

    @property
    def user_id(self) -> str:
        return self.audience.user_id


def open_request(serving: Serving, connection: Connection, audience: Audience, space: str | None) -> Request:
    """What an answer in a space starts from."""
    profile = profile_of(serving.pooling, connection, space, audience.user_id)
    return Request(audience, _readings(audience, serving.pooling.rule), space, profile, now_micros())


def active_space_of(connection: Connection) -> str | None:
    """The space that is served; None before the first activation."""
    return connection.scalar(select(active_space_name()))


def profile_of(pooling: Pooling, connection: Connection, space: str | None, user_id: str) -> Profile | None:
    """The readings behind the reader's vector; None without a space."""
    if space is None:
        return None
    return load_profile(connection, pooling.cache, pooling.rule, space, user_id)


def _readings(audience: Audience, rule: WeightRule) -> tuple[tuple[str, float], ...]:
    times = [(reading.newest_at(), item) for item, reading in audience.history.items()]
    counting: Sequence[tuple[int, str]] = sorted(
        ((time, item) for time, item in times if time is not None), key=lambda pair: (-pair[0], pair[1])
    )
    newest = [item for _, item in counting[:NEWEST_READINGS]]
    weights = weights_of([audience.history[item] for item in newest], rule)
    return tuple((item, weight) for item, weight in zip(newest, weights, strict=True) if weight > 0)
