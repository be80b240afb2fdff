"""Which response an event is attributed to: a pure function of all events of one user with one post.

The order in which events arrive does not matter, nor how often they arrive.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from nearfeed_contracts.events import Attribution

IMPRESSION = "impression"


class UserEvent(NamedTuple):
    """An action of a user on a post, or an impression; times in microseconds."""

    user_id: str
    item_id: str
    kind: str
    occurred_at: int
    value: float | None
    request_id: str | None


class RequestIdCheck(NamedTuple):
    """Whether a request id was issued to this user (`genuine`), and whether the post was in that response.

    `attribution` is `explicit`, `not_in_response` (the response is known, and lacks the post), or
    `invalid_request_id`.
    """

    attribution: Attribution
    experiment: str | None = None
    arm: str | None = None

    @property
    def genuine(self) -> bool:
        return self.attribution != "invalid_request_id"


class Attributed(NamedTuple):
    """The attribution of an event; `request_id` is that of the response.

    `impression_at` is the time of the impression of a view-through attribution.
    """

    request_id: str | None
    attribution: Attribution
    impression_at: int | None = None
    experiment: str | None = None
    arm: str | None = None


def merged(events: Iterable[UserEvent], checks: Mapping[str, RequestIdCheck]) -> list[UserEvent]:
    """One event of each kind and time: with a genuine request id, else with an invalid one, else with none.

    Of two ratings at one time the lower wins, as in engagements.
    """
    kept: dict[tuple[str, int], UserEvent] = {}
    for event in events:
        other = kept.get((event.kind, event.occurred_at))
        kept[event.kind, event.occurred_at] = _one_of(event, other, checks) if other else event
    return list(kept.values())


def attribute(
    events: Sequence[UserEvent], checks: Mapping[str, RequestIdCheck], window: int
) -> list[Attributed]:
    """The attribution of each event of one user with one post; no two have the same kind and time.

    An event with a request id is attributed to that response or to none. An action without one is attributed
    to the newest explicit impression in the `window` microseconds before it.
    """
    seen = sorted(
        (event.occurred_at, event.request_id)
        for event in events
        if event.kind == IMPRESSION
        and event.request_id
        and checks[event.request_id].attribution == "explicit"
    )
    times = [at for at, _ in seen]

    def attributed(event: UserEvent) -> Attributed:
        if event.request_id is not None:
            check = checks[event.request_id]
            return Attributed(event.request_id, check.attribution, None, check.experiment, check.arm)
        newest = bisect_right(times, event.occurred_at) - 1
        if newest < 0 or times[newest] < event.occurred_at - window:
            return Attributed(None, "unattributed")
        at, request_id = seen[newest]
        check = checks[request_id]
        return Attributed(request_id, "view_through", at, check.experiment, check.arm)

    return [attributed(event) for event in events]


def _one_of(one: UserEvent, other: UserEvent, checks: Mapping[str, RequestIdCheck]) -> UserEvent:
    chosen = max((one.request_id, other.request_id), key=lambda given: _rank_of(given, checks))
    values = [value for value in (one.value, other.value) if value is not None]
    return one._replace(request_id=chosen, value=min(values, default=None))


def _rank_of(request_id: str | None, checks: Mapping[str, RequestIdCheck]) -> tuple[int, str]:
    if request_id is None:
        return 0, ""
    return (2 if checks[request_id].genuine else 1), request_id
