"""Compares arms with the control, and checks guardrails: whether an arm loses more than they allow.

A loss is the arm's lift in the worse direction. Where an arm has next to no events of a metric (no click at
all), its lift is unknown: the loss is the difference, divided by the control's mean. Where the control has no
events either, the loss is the difference itself, and `most_at_zero` is the bound. An arm without the
denominator of a ratio (no impression, so no click rate) loses all of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import Connection

from nearfeed_core.experiments.clusters import Estimate, UnitSums, ratio
from nearfeed_core.experiments.cuped import adjusted
from nearfeed_core.experiments.sequences import Interval, Tuning, difference, lift, mean_interval, tuned_for
from nearfeed_recommender.experiments.measures import unit_sums
from nearfeed_recommender.experiments.records import Experiment
from nearfeed_recommender.experiments.report_schema import GuardrailOut, IntervalOut, MeasuredOut
from nearfeed_recommender.experiments.schema import METRICS, SHARES, Guardrail, Metric
from nearfeed_recommender.experiments.sums import Window, arm_sums

LEAST_LIFT = 0.5  # guardrails are for large losses: one that is tuned for small ones sees these late
Sums = Mapping[str, Mapping[str, Any]]


class _Loss(NamedTuple):
    """How much is lost; `absolute` where that is in the metric's unit for want of a control's value."""

    interval: Interval | None
    absolute: bool = False


def guardrail_tuning(experiment: Experiment) -> Tuning:
    """For large losses; alpha is shared by the guardrails and the arms that are compared."""
    design = experiment.design
    alpha = design.alpha / design.comparisons / max(1, len(design.guardrails))
    return tuned_for(max(LEAST_LIFT, design.lift), alpha=alpha)


def guardrails_of(experiment: Experiment, sums: Sums, *, earlier: bool) -> list[GuardrailOut]:
    """Each guardrail for each arm that is assigned, beside the control."""
    design, tuning = experiment.design, guardrail_tuning(experiment)
    return [
        _guardrail(guardrail, arm, sums, design.control, tuning, earlier=earlier)
        for guardrail in design.guardrails
        for arm in experiment.live_arms
        if arm != design.control
    ]


def _guardrail(
    guardrail: Guardrail, arm: str, sums: Sums, control: str, tuning: Tuning, *, earlier: bool
) -> GuardrailOut:
    lost = _Loss(None)
    if arm in sums and control in sums:
        base, other = (unit_sums(sums[name], guardrail.metric, earlier=earlier) for name in (control, arm))
        lost = _loss(guardrail, base, other, tuning)
    most = guardrail.most_at_zero if lost.absolute else guardrail.most_loss
    return GuardrailOut(
        arm=arm,
        metric=guardrail.metric,
        most_loss=guardrail.most_loss,
        loss=IntervalOut(**vars(lost.interval)) if lost.interval else None,
        broken=lost.interval is not None and lost.interval.low > most,
        absolute=lost.absolute,
        most_at_zero=guardrail.most_at_zero,
    )


def _loss(guardrail: Guardrail, control: UnitSums, arm: UnitSums, tuning: Tuning) -> _Loss:
    base, other = _estimates(control, arm)
    if base is not None and other is None:
        return _of_share(ratio(_denominators(control)), ratio(_denominators(arm)), 1, tuning)
    if base is None or other is None:
        return _Loss(None)
    if guardrail.metric in SHARES:
        return _Loss(_worse(difference(base, _separated(base, other), tuning), guardrail.sign))
    found = lift(base, other, tuning)
    if found is not None:
        return _Loss(_worse(found, guardrail.sign))
    return _of_share(base, other, guardrail.sign, tuning)


def _estimates(control: UnitSums, arm: UnitSums) -> tuple[Estimate | None, Estimate | None]:
    """Adjusted by what readers did earlier, but where one of both has nothing: that must stay nothing."""
    if not control.totals[0] or not arm.totals[0]:
        return ratio(control), ratio(arm)
    found = adjusted({"control": control, "arm": arm}).estimates
    return found["control"], found["arm"]


def _of_share(base: Estimate | None, other: Estimate | None, sign: int, tuning: Tuning) -> _Loss:
    """The difference as a share of the control's mean, which is taken as known; without one, as it is."""
    if base is None or other is None:
        return _Loss(None)
    found = _worse(difference(base, _separated(base, other), tuning), sign)
    if found is None or base.mean <= 0:
        return _Loss(found, absolute=base.mean <= 0)
    bounds = (found.estimate / base.mean, found.low / base.mean, found.high / base.mean)
    return _Loss(Interval(*bounds, found.p_value))


def _separated(base: Estimate, other: Estimate) -> Estimate:
    """The arm with the variance that it had if one of its readers were as the control's, at least.

    Where all its readers are alike (every request failed), their variance of 0 would tell nothing.
    """
    return replace(other, variance=max(other.variance, ((other.mean - base.mean) / other.units) ** 2))


def _worse(found: Interval | None, sign: int) -> Interval | None:
    """A difference as a loss; `sign` is 1 where higher is better."""
    if found is None or sign < 0:
        return found
    return Interval(-found.estimate, -found.high, -found.low, found.p_value)


def _denominators(sums: UnitSums) -> UnitSums:
    """What the metric is a ratio to, per reader."""
    total, units = sums.totals[1], float(sums.units)
    products = ((sums.products[1][1], total, 0.0, 0.0), (total, units, 0.0, 0.0), (0.0,) * 4, (0.0,) * 4)
    return UnitSums(sums.units, (total, units, 0.0, 0.0), products)


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
