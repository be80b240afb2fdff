"""Arms compared with the control, each as long as it was assigned."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from nearfeed_core.experiments.clusters import ratio
from nearfeed_core.experiments.cuped import adjusted
from nearfeed_core.experiments.sequences import Interval, Tuning, difference, lift, mean_interval, tuned_for
from nearfeed_recommender.experiments.guardrails import Sums
from nearfeed_recommender.experiments.measures import unit_sums
from nearfeed_recommender.experiments.records import Experiment
from nearfeed_recommender.experiments.report_schema import IntervalOut, MeasuredOut
from nearfeed_recommender.experiments.schema import METRICS, Metric
from nearfeed_recommender.experiments.sums import Window, arm_sums

Measured = Mapping[str, dict[Metric, MeasuredOut]]


@dataclass(frozen=True)
class Comparison:
    """The metrics of each arm, and the share of each one's variance that earlier actions explain."""

    arms: Measured
    removed: dict[Metric, float]


def tuning_of(experiment: Experiment) -> Tuning:
    """Of the intervals: alpha is shared by the arms that are compared with the control."""
    design = experiment.design
    return tuned_for(design.lift, alpha=design.alpha / design.comparisons)


def compared(connection: Connection, experiment: Experiment, window: Window, sums: Sums) -> Comparison:
    """All arms by the `sums` of the window; those that were stopped within it by the sums until then.

    An arm that is assigned no longer collects nothing, while readers of the control come back: compared over
    the whole window they would be other readers at other times.
    """
    ends = {arm: at for arm, at in experiment.traffic.stopped_at.items() if at < window.until}
    found = _compared({arm: row for arm, row in sums.items() if arm not in ends}, experiment, window)
    arms = dict(found.arms)
    for end in sorted(set(ends.values())):
        until = arm_sums(connection, replace(window, until=end))
        there = {arm for arm, at in ends.items() if at == end}
        both = {arm: row for arm, row in until.items() if arm in {experiment.design.control, *there}}
        arms |= {arm: each for arm, each in _compared(both, experiment, window).arms.items() if arm in there}
    return Comparison(arms, found.removed)


def _compared(sums: Sums, experiment: Experiment, window: Window) -> Comparison:
    arms: dict[str, dict[Metric, MeasuredOut]] = {arm: {} for arm in sums}
    removed: dict[Metric, float] = {}
    for metric in METRICS:
        removed[metric] = 0.0
        for arm, measured, share in _measured(sums, metric, experiment, earlier=window.days_before > 0):
            arms[arm][metric], removed[metric] = measured, share
    return Comparison(arms, removed)


def _measured(
    sums: Sums, metric: Metric, experiment: Experiment, *, earlier: bool
) -> Iterator[tuple[str, MeasuredOut, float]]:
    """A metric of each arm, and the share of variance that earlier actions explain."""
    tuning, control = tuning_of(experiment), experiment.design.control
    plain = {arm: unit_sums(row, metric, earlier=earlier) for arm, row in sums.items()}
    adjustment = adjusted(plain)
    base = adjustment.estimates.get(control)
    for arm, one in plain.items():
        own, other, against = ratio(one), adjustment.estimates[arm], arm != control
        found = MeasuredOut(
            mean=own.mean if own else None,
            interval=_out(mean_interval(own, tuning)),
            difference=_out(difference(base, other, tuning)) if against else None,
            lift=_out(lift(base, other, tuning)) if against else None,
        )
        yield arm, found, adjustment.removed


def _out(found: Interval | None) -> IntervalOut | None:
    return IntervalOut(**vars(found)) if found else None
