"""A request as all sources of an answer see it, read from SQL once."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from nearfeed_contracts.events import VectorArray
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import active_space_name
from nearfeed_core.pooling import NEWEST_READINGS
from nearfeed_core.readings import WeightRule, weights_of
from nearfeed_recommender.posts import Audience
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.readers.user_vectors import stored_vector


@dataclass(frozen=True)
class Request:
    """`readings` are those of the reader that have a weight, newest first, 512 at most: post and weight.

    `space` is the one that the answer keeps to, None before the first; `vector` (dim) what is stored for the
    reader in it, None where it is missing or stale.
    """

    audience: Audience
    readings: tuple[tuple[str, float], ...]
    space: str | None
    vector: VectorArray | None
    now: int

    @property
    def user_id(self) -> str:
        return self.audience.user_id


def open_request(serving: Serving, connection: Connection, audience: Audience, space: str | None) -> Request:
    """What an answer in a space starts from."""
    readings = _readings(audience, serving.pooling.rule)
    vector = stored_vector(connection, space, audience.user_id) if space and readings else None
    return Request(audience, readings, space, vector, now_micros())


def active_space_of(connection: Connection) -> str | None:
    """The space that is served; None before the first activation."""
    return connection.scalar(select(active_space_name()))


def _readings(audience: Audience, rule: WeightRule) -> tuple[tuple[str, float], ...]:
    unwanted = audience.controls.items
    wanted = ((item, reading) for item, reading in audience.history.items() if item not in unwanted)
    times = [(reading.newest_at(), item) for item, reading in wanted]
    counting: Sequence[tuple[int, str]] = sorted(
        ((time, item) for time, item in times if time is not None), key=lambda pair: (-pair[0], pair[1])
    )
    newest = [item for _, item in counting[:NEWEST_READINGS]]
    weights = weights_of([audience.history[item] for item in newest], rule)
    return tuple((item, weight) for item, weight in zip(newest, weights, strict=True) if weight > 0)
