"""Results of an experiment by arm: counts, means, and intervals that are valid at any time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from nearfeed_contracts.events import HOLDOUT
from nearfeed_contracts.fields import from_micros
from nearfeed_core.experiments.mismatch import mismatch
from nearfeed_recommender.experiments.daily import daily, percentiles, sessions
from nearfeed_recommender.experiments.guardrails import Sums, compared, guardrails_of
from nearfeed_recommender.experiments.records import Experiment
from nearfeed_recommender.experiments.report_schema import (
    ArmResult,
    DayOut,
    MeasuredOut,
    MismatchOut,
    Results,
)
from nearfeed_recommender.experiments.schema import METRICS, Fixed, Metric, first_shares
from nearfeed_recommender.experiments.sums import Window, arm_sums, mixed_readers
from nearfeed_recommender.exposure_log.outcomes import RETENTION_MICROS


def verdict_of(
    metric: Metric, control: str, arms: Sequence[ArmResult], seen: MismatchOut | None, *, adaptive: bool
) -> str:
    """Of each arm, unless none is to be trusted."""
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
    is_, end = ("was", ", until it was stopped") if arm.stopped_at else ("is", "")
    if found.low > 0 or found.high < 0:
        way = "higher" if found.low > 0 else "lower"
        return f"{metric} of arm {arm.arm} {is_} {way} than that of {control}{end}."
    return f"{metric} of arm {arm.arm} {is_} not told from that of {control}{end}."


NOTHING = MeasuredOut(mean=None, interval=None, difference=None, lift=None)


def with_last_intervals(results: Results, before: Results | None) -> Results:
    """Counts and means of `results`; intervals, mismatch and guardrails of `before`, which was kept.

    An arm of which the ledger has nothing any more is as it was.
    """
    until = (before.intervals_until or before.until) if before else None
    last = {arm.arm: arm for arm in before.arms} if before else {}
    arms = [_with_intervals(arm, last.get(arm.arm)) for arm in results.arms]
    known = {arm.arm for arm in results.arms}
    arms += [arm for name, arm in last.items() if name not in known]
    mismatch = before.mismatch if before else None
    verdict = verdict_of(results.metric, results.control, arms, mismatch, adaptive=results.adaptive)
    changes = {
        "arms": arms,
        "mismatch": mismatch,
        "guardrails": before.guardrails if before else [],
        "removed": before.removed if before else dict.fromkeys(results.removed, 0.0),
        "verdict": f"{verdict} {_until_text(until)}",
        "intervals_until": until,
    }
    return results.model_copy(update=changes)


def _with_intervals(arm: ArmResult, last: ArmResult | None) -> ArmResult:
    metrics: dict[Metric, MeasuredOut] = {}
    for name, measured in arm.metrics.items():
        kept = last.metrics.get(name, NOTHING) if last else NOTHING
        metrics[name] = kept.model_copy(update={"mean": measured.mean})
    return arm.model_copy(update={"metrics": metrics})


def _until_text(until: datetime | None) -> str:
    counted = "The ledger goes back 30 days: counts and means are of these"
    if until is None:
        return f"{counted}, and no differences were kept from before."
    return f"{counted}, and differences of all that was served until {until:%Y-%m-%d %H:%M} (UTC)."


def results_of(
    connection: Connection, experiment: Experiment, now: int, before: Results | None = None
) -> Results:
    """Results up to `now`, or the end; `before` are those of the last look, whose alarm stays.

    The ledger goes back 30 days; of an experiment that is older, the intervals are those of `before`.
    """
    window = window_of(experiment, now)
    design, adaptive = experiment.design, not isinstance(experiment.design.allocation, Fixed)
    sums = {arm: row for arm, row in arm_sums(connection, window).items() if arm in experiment.arms}
    comparison = compared(connection, experiment, window, sums)
    times, days = percentiles(connection, window), daily(connection, window)
    came = sessions(days)
    arms = [
        _arm(
            experiment,
            arm,
            sums[arm] | {"sessions": came[arm]},
            times.get(arm, {}),
            comparison.arms.get(arm, {}),
        )
        for arm in experiment.arms
        if arm in sums
    ]
    seen = None if adaptive else _mismatch(experiment, sums, before)
    found = Results(
        experiment=experiment.name,
        metric=design.metric,
        control=design.control,
        since=from_micros(window.since),
        until=from_micros(window.until),
        adaptive=adaptive,
        alpha=design.alpha,
        verdict=verdict_of(design.metric, design.control, arms, seen, adaptive=adaptive),
        arms=arms,
        removed=comparison.removed,
        mixed_readers=mixed_readers(connection, window),
        mismatch=seen,
        guardrails=[] if adaptive else guardrails_of(experiment, sums, earlier=window.days_before > 0),
        days=[DayOut(**{**row, "at": from_micros(row["at"])}) for row in days],
        intervals_until=from_micros(window.until),
    )
    return found if is_whole(experiment, window) else with_last_intervals(found, before)


def window_of(experiment: Experiment, now: int) -> Window:
    """What its results are of: all that was served, as far as the ledger goes back."""
    until = experiment.stopped_at or now
    since = max(experiment.started_at or until, min(until, now - RETENTION_MICROS))
    whole = since == experiment.started_at
    return Window(since, until, experiment.name, days_before=experiment.design.days_before if whole else 0)


def is_whole(experiment: Experiment, window: Window) -> bool:
    """Whether the ledger goes back to the experiment's start: only then do intervals hold at all looks."""
    return experiment.started_at is None or window.since == experiment.started_at


def _arm(
    experiment: Experiment,
    arm: str,
    row: Mapping[str, Any],
    times: Mapping[int, float],
    metrics: Mapping[Metric, MeasuredOut],
) -> ArmResult:
    found = {name: metrics.get(name, NOTHING) for name in METRICS}
    if not isinstance(experiment.design.allocation, Fixed):
        found = {name: NOTHING.model_copy(update={"mean": m.mean}) for name, m in found.items()}
    counts = (
        "requests",
        "impressions",
        "clicks",
        "reads",
        "likes",
        "hides",
        "degraded",
        "failed",
        "sessions",
    )
    stopped_at = experiment.traffic.stopped_at.get(arm)
    return ArmResult(
        arm=arm,
        readers=row["units"],
        took_p50_ms=times.get(50),
        took_p95_ms=times.get(95),
        metrics=found,
        seen_per_session=row["impressions"] / row["sessions"],
        stopped_at=None if stopped_at is None else from_micros(stopped_at),
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
