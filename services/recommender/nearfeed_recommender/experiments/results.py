"""What came of an experiment, by arm: counts, means, and differences that hold at any look."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from nearfeed_contracts.fields import from_micros
from nearfeed_core.experiments.clusters import ratio
from nearfeed_core.experiments.cuped import adjusted
from nearfeed_core.experiments.mismatch import mismatch
from nearfeed_core.experiments.sequences import Interval, Tuning, difference, lift, mean_interval, tuned_for
from nearfeed_recommender.experiments.findings import (
    ArmResult,
    DayOut,
    IntervalOut,
    MeasuredOut,
    MismatchOut,
    Results,
)
from nearfeed_recommender.experiments.guarding import Sums, guardrails_of
from nearfeed_recommender.experiments.measures import unit_sums
from nearfeed_recommender.experiments.records import Experiment
from nearfeed_recommender.experiments.schema import (
    HOLDOUT,
    METRICS,
    Fixed,
    Metric,
    first_shares,
)
from nearfeed_recommender.experiments.sums import Window, arm_sums, daily, mixed_readers, percentiles
from nearfeed_recommender.ledger.outcomes import RETENTION_MICROS


def results_of(
    connection: Connection, experiment: Experiment, now: int, before: Results | None = None
) -> Results:
    """Results up to `now`, or the end; `before` are those of the last look, whose alarm stays.

    The ledger goes back 30 days; of an experiment that is older, what readers did before its start is gone.
    """
    window = window_of(experiment, now)
    design, adaptive = experiment.design, not isinstance(experiment.design.allocation, Fixed)
    sums = {arm: row for arm, row in arm_sums(connection, window).items() if arm in experiment.arms}
    tuning = tuning_of(experiment)
    compared = {
        metric: compare(sums, metric, design.control, tuning, earlier=window.days_before > 0)
        for metric in METRICS
    }
    times = percentiles(connection, window)
    arms = [
        _arm(
            arm,
            sums[arm],
            times.get(arm, {}),
            {m: found[arm] for m, (found, _) in compared.items()},
            adaptive,
        )
        for arm in experiment.arms
        if arm in sums
    ]
    seen = None if adaptive else _mismatch(experiment, sums, before)
    return Results(
        experiment=experiment.name,
        metric=design.metric,
        control=design.control,
        since=from_micros(window.since),
        until=from_micros(window.until),
        adaptive=adaptive,
        alpha=design.alpha,
        verdict=verdict_of(design.metric, design.control, arms, seen, adaptive=adaptive),
        arms=arms,
        removed={metric: removed for metric, (_, removed) in compared.items()},
        mixed_readers=mixed_readers(connection, window),
        mismatch=seen,
        guardrails=[] if adaptive else guardrails_of(experiment, sums, earlier=window.days_before > 0),
        days=[DayOut(**{**row, "at": from_micros(row["at"])}) for row in daily(connection, window)],
    )


def window_of(experiment: Experiment, now: int) -> Window:
    """What its results are of."""
    until = experiment.stopped_at or now
    since = max(experiment.started_at or until, until - RETENTION_MICROS)
    whole = since == experiment.started_at
    return Window(since, until, experiment.name, days_before=experiment.design.days_before if whole else 0)


def tuning_of(experiment: Experiment) -> Tuning:
    """Of the intervals: alpha is shared by the arms that are compared with the control."""
    design = experiment.design
    return tuned_for(design.lift, alpha=design.alpha / design.comparisons)


def compare(
    sums: Sums, metric: Metric, control: str, tuning: Tuning, *, earlier: bool
) -> tuple[dict[str, MeasuredOut], float]:
    """A metric of each arm, and the share of variance that earlier actions explain."""
    plain = {arm: unit_sums(row, metric, earlier=earlier) for arm, row in sums.items()}
    adjustment = adjusted(plain)
    base = adjustment.estimates.get(control)
    found: dict[str, MeasuredOut] = {}
    for arm, one in plain.items():
        own, other = ratio(one), adjustment.estimates[arm]
        compared = arm != control
        found[arm] = MeasuredOut(
            mean=own.mean if own else None,
            interval=_out(mean_interval(own, tuning)),
            difference=_out(difference(base, other, tuning)) if compared else None,
            lift=_out(lift(base, other, tuning)) if compared else None,
        )
    return found, adjustment.removed


def _arm(
    arm: str,
    row: Mapping[str, Any],
    times: Mapping[int, float],
    metrics: dict[Metric, MeasuredOut],
    adaptive: bool,
) -> ArmResult:
    if adaptive:
        metrics = {
            name: MeasuredOut(mean=m.mean, interval=None, difference=None, lift=None)
            for name, m in metrics.items()
        }
    counts = ("requests", "impressions", "clicks", "reads", "likes", "hides", "degraded", "failed")
    return ArmResult(
        arm=arm,
        readers=row["units"],
        took_p50_ms=times.get(50),
        took_p95_ms=times.get(95),
        metrics=metrics,
        **{name: int(row[name]) for name in counts},
    )


def _mismatch(experiment: Experiment, sums: Sums, before: Results | None) -> MismatchOut | None:
    """Of the arms that were assigned all the time, which readers came to in proportion to their shares."""
    holdout, shares = experiment.design.holdout, first_shares(experiment.design)
    wanted = {arm: shares[arm] * (1 - holdout) for arm in experiment.live_arms}
    if holdout:
        wanted[HOLDOUT] = holdout
    if len(wanted) < 2:
        return None
    total = sum(wanted.values())
    counts = [int(sums[arm]["units"]) if arm in sums else 0 for arm in wanted]
    least = before.mismatch.p_value if before and before.mismatch else 1.0
    found = mismatch(counts, [share / total for share in wanted.values()], least_p=least)
    expected = dict(zip(wanted, found.expected, strict=True))
    return MismatchOut(p_value=found.p_value, alarm=found.alarm, expected=expected)


def verdict_of(
    metric: Metric, control: str, arms: list[ArmResult], seen: MismatchOut | None, *, adaptive: bool
) -> str:
    """What the results say, in a sentence."""
    if seen is not None and seen.alarm:
        return "Readers did not come to the arms in their shares: find out why before any result is trusted."
    if adaptive:
        return "A bandit learns while it runs: `experiments evaluate` tells what an arm is worth."
    told = [_verdict(metric, control, arm) for arm in arms if arm.arm not in (control, HOLDOUT)]
    return " ".join(told) or "Nothing has been served yet."


def _verdict(metric: Metric, control: str, arm: ArmResult) -> str:
    found = arm.metrics[metric].lift or arm.metrics[metric].difference
    if found is None:
        return f"Too little is known of arm {arm.arm}."
    if found.low > 0 or found.high < 0:
        way = "higher" if found.low > 0 else "lower"
        return f"{metric} of arm {arm.arm} is {way} than that of {control}."
    return f"{metric} of arm {arm.arm} is not told from that of {control}."


def _out(found: Interval | None) -> IntervalOut | None:
    return IntervalOut(**vars(found)) if found else None
