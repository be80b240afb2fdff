"""Which answer an action came of: a pure function of all that is known of a reader and a post.

So the order in which it became known does not matter, nor how often.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from nearfeed_contracts.events import Attribution

IMPRESSION = "impression"


class Deed(NamedTuple):
    """What a reader did with a post, or that they saw it, as it was told; times in microseconds."""

    user_id: str
    item_id: str
    kind: str
    occurred_at: int
    value: float | None
    request_id: str | None


class Verdict(NamedTuple):
    """What a request id is worth for a post; `genuine` says that this service gave it to this reader.

    `attribution` is `told`, `unknown` (the answer is known, and the post does not stand in it), or `forged`.
    """

    attribution: Attribution
    experiment: str | None = None
    arm: str | None = None

    @property
    def genuine(self) -> bool:
        return self.attribution != "forged"


class Attributed(NamedTuple):
    """What the ledger says of a deed; `request_id` is that of the answer that it came of.

    `impression_at` is the time of the impression that an action was attributed to by the window.
    """

    request_id: str | None
    attribution: Attribution
    impression_at: int | None = None
    experiment: str | None = None
    arm: str | None = None


def merged(deeds: Iterable[Deed], verdicts: Mapping[str, Verdict]) -> list[Deed]:
    """One of each kind and time: with a genuine request id if there is one, else a forged one, else none.

    Of two ratings at one time the lower wins, as in readings.
    """
    kept: dict[tuple[str, int], Deed] = {}
    for deed in deeds:
        other = kept.get((deed.kind, deed.occurred_at))
        kept[deed.kind, deed.occurred_at] = _one_of(deed, other, verdicts) if other else deed
    return list(kept.values())


def attribute(deeds: Sequence[Deed], verdicts: Mapping[str, Verdict], window: int) -> list[Attributed]:
    """For each deed of one reader with one post, all of different kind or time, what it came of.

    One that tells a request id is of that answer or of none; an action without is of the newest impression
    in the `window` microseconds before it, if that is told.
    """
    seen = sorted(
        (deed.occurred_at, deed.request_id)
        for deed in deeds
        if deed.kind == IMPRESSION and deed.request_id and verdicts[deed.request_id].attribution == "told"
    )
    times = [at for at, _ in seen]

    def attributed(deed: Deed) -> Attributed:
        if deed.request_id is not None:
            verdict = verdicts[deed.request_id]
            return Attributed(deed.request_id, verdict.attribution, None, verdict.experiment, verdict.arm)
        newest = bisect_right(times, deed.occurred_at) - 1
        if newest < 0 or times[newest] < deed.occurred_at - window:
            return Attributed(None, "none")
        at, request_id = seen[newest]
        verdict = verdicts[request_id]
        return Attributed(request_id, "window", at, verdict.experiment, verdict.arm)

    return [attributed(deed) for deed in deeds]


def _one_of(one: Deed, other: Deed, verdicts: Mapping[str, Verdict]) -> Deed:
    told = max((one.request_id, other.request_id), key=lambda given: _worth(given, verdicts))
    values = [value for value in (one.value, other.value) if value is not None]
    return one._replace(request_id=told, value=min(values, default=None))


def _worth(request_id: str | None, verdicts: Mapping[str, Verdict]) -> tuple[int, str]:
    if request_id is None:
        return 0, ""
    return (2 if verdicts[request_id].genuine else 1), request_id
