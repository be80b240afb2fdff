"""The form of results: what is answered, and what is kept of them hour by hour. No reader's id is in it."""

from datetime import datetime

from pydantic import BaseModel

from nearfeed_recommender.experiments.schema import Metric


class IntervalOut(BaseModel):
    """An estimate with bounds that hold at all looks together; lifts are shares: 0.05 is 5 %."""

    estimate: float
    low: float
    high: float
    p_value: float


class MeasuredOut(BaseModel):
    """A metric of an arm: its mean, and how it differs from the control's. null: too little is known yet.

    Differences are adjusted by what readers did before the start (CUPED).
    """

    mean: float | None
    interval: IntervalOut | None
    difference: IntervalOut | None
    lift: IntervalOut | None


class ArmResult(BaseModel):
    """An arm's counts; times in milliseconds. `depth` is the deepest position that was seen, from 1.

    A session is a reader's answers with less than 30 minutes from each to the next; `seen_per_session` is
    the mean of the posts seen in it. An arm that was stopped is compared with what the control had until
    `stopped_at`.
    """

    arm: str
    readers: int
    requests: int
    impressions: int
    clicks: int
    reads: int
    likes: int
    hides: int
    took_p50_ms: float | None
    took_p95_ms: float | None
    degraded: int
    failed: int
    metrics: dict[Metric, MeasuredOut]
    stopped_at: datetime | None = None
    sessions: int = 0
    seen_per_session: float | None = None


class MismatchOut(BaseModel):
    """Whether readers came to the arms as they should: an alarm says that no result is to be trusted."""

    p_value: float
    alarm: bool
    expected: dict[str, float]


class GuardrailOut(BaseModel):
    """How much an arm loses by a guardrail's metric, as a share of the control's value or of requests.

    It is `broken` where even the least of the interval is more than `most_loss`. `absolute`: the control's
    value is 0, so that the loss is in the metric's unit and `most_at_zero` the bound.
    """

    arm: str
    metric: Metric
    most_loss: float
    loss: IntervalOut | None
    broken: bool
    absolute: bool = False
    most_at_zero: float | None = None


class DayOut(BaseModel):
    """What was served in a day (UTC) by an arm, and what came of it; times in milliseconds.

    `depth` is the deepest position that was seen, from 1, by request; `sessions` are those that began then.
    """

    at: datetime
    arm: str
    readers: int
    requests: int
    impressions: int
    clicks: int
    reads: int
    likes: int
    hides: int
    degraded: int = 0
    failed: int = 0
    depth: float | None = None
    took_p50_ms: float | None = None
    took_p95_ms: float | None = None
    sessions: int = 0


class Results(BaseModel):
    """Of all that was served from `since` to before `until`.

    `verdict` says it in a sentence. A bandit (`adaptive`) draws by request: its arms share their readers, so
    that means alone are told; `experiments evaluate` weighs them. `removed` is the share of variance that
    earlier actions explain, by metric; `mixed_readers` are those who were served more than one arm,
    with fixed shares because their ids were told late to belong together: they count in each.

    `intervals_until` is up to when intervals, differences, the mismatch and guardrails tell; earlier than
    `until` where the experiment has run for longer than the ledger goes back: what is counted is then of the
    last 30 days, and intervals of a window that slides would not hold at all looks together.
    """

    experiment: str
    metric: Metric
    control: str
    since: datetime
    until: datetime
    adaptive: bool
    alpha: float
    verdict: str
    arms: list[ArmResult]
    removed: dict[Metric, float]
    mixed_readers: int
    mismatch: MismatchOut | None
    guardrails: list[GuardrailOut]
    days: list[DayOut]
    intervals_until: datetime | None = None
    took_ms: float | None = None


class PointOut(MeasuredOut):
    """An experiment's own metric of an arm as it was at a time, with what else is watched.

    All are of what had been served until then: requests, those degraded and failed, the mean of the deepest
    positions seen, and milliseconds that answers took.
    """

    at: datetime
    arm: str
    readers: int
    requests: int = 0
    degraded: int = 0
    failed: int = 0
    depth: float | None = None
    took_p50_ms: float | None = None
    took_p95_ms: float | None = None
