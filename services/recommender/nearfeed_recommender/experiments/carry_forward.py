"""Results of an experiment that has run for longer than the ledger goes back.

Of a window that slides nothing holds at all looks together, so that what is told of differences is from then
on that of the last look at all that was served.
"""

from datetime import datetime

from nearfeed_recommender.experiments.report_schema import ArmResult, MeasuredOut, Results
from nearfeed_recommender.experiments.schema import Metric
from nearfeed_recommender.experiments.verdicts import verdict_of

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
        "verdict": f"{verdict} {_told(until)}",
        "intervals_until": until,
    }
    return results.model_copy(update=changes)


def _with_intervals(arm: ArmResult, last: ArmResult | None) -> ArmResult:
    metrics: dict[Metric, MeasuredOut] = {}
    for name, measured in arm.metrics.items():
        kept = last.metrics.get(name, NOTHING) if last else NOTHING
        metrics[name] = kept.model_copy(update={"mean": measured.mean})
    return arm.model_copy(update={"metrics": metrics})


def _told(until: datetime | None) -> str:
    counted = "The ledger goes back 30 days: counts and means are of these"
    if until is None:
        return f"{counted}, and no differences were kept from before."
    return f"{counted}, and differences of all that was served until {until:%Y-%m-%d %H:%M} (UTC)."
