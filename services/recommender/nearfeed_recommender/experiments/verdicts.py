"""What results say, in sentences."""

from collections.abc import Sequence

from nearfeed_contracts.events import HOLDOUT
from nearfeed_recommender.experiments.report_schema import ArmResult, MismatchOut
from nearfeed_recommender.experiments.schema import Metric


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
