"""Results, sizes and values as operators read them."""

from collections.abc import Iterator

from nearfeed_recommender.experiments.off_policy import Evaluation, ValueOut
from nearfeed_recommender.experiments.power import Plan, Size
from nearfeed_recommender.experiments.report_schema import IntervalOut, Results
from nearfeed_runtime.operations import Listed, Said, Step

_COUNTS = ("arm", "readers", "requests", "seen", "clicks", "reads", "likes", "p95 ms", "failed")
_METRICS = ("metric", "arm", "mean", "lift", "from", "to", "p-value")
_COURSE = ("days", "readers", "mean", "least lift found")
_VALUES = ("estimate", "share of requests", "from", "to", "worth requests")
_NOTHING = ("", "", "", "")


def results_report(results: Results) -> Iterator[Step]:
    """Counts by arm, the metrics of each, alarms, and the verdict."""
    counts = tuple(
        (
            arm.arm,
            *map(str, (arm.readers, arm.requests, arm.impressions, arm.clicks, arm.reads, arm.likes)),
            f"{arm.took_p95_ms:.1f}" if arm.took_p95_ms is not None else "",
            str(arm.failed),
        )
        for arm in results.arms
    )
    yield Listed(_COUNTS, counts)
    rows = tuple(
        (name, arm.arm, f"{measured.mean:.4g}", *_lift(measured.lift))
        for name in (results.metric, *(name for name in results.removed if name != results.metric))
        for arm in results.arms
        if (measured := arm.metrics[name]).mean is not None
    )
    yield Listed(_METRICS, rows)
    for guardrail in results.guardrails:
        if guardrail.broken:
            yield Said(f"Guardrail {guardrail.metric} is broken by arm {guardrail.arm}.")
    if results.mixed_readers and not results.adaptive:
        yield Said(f"Readers of two arms, whose ids were merged later: {results.mixed_readers}.")
    yield Said(results.verdict)


def size_report(plan: Plan, size: Size) -> Iterator[Step]:
    """What was found after so many days, and what is needed."""
    rows = tuple(
        (str(day.days), str(day.readers), f"{day.mean:.4g}", f"{day.lift_found:.1%}") for day in size.course
    )
    if rows:
        yield Listed(_COURSE, rows)
    days = f"{size.days} days" if size.days is not None else "more days than the ledger has"
    yield Said(
        f"A lift of {plan.lift:.1%} in {plan.metric} at {plan.place} is found with a chance of "
        f"{plan.power:.0%} by {size.readers} readers in both arms: {days}, looks every day included."
    )


def value_report(value: Evaluation) -> Iterator[Step]:
    """The three estimates beside what was earned."""
    rows = tuple(
        (name, *_value(found))
        for name, found in (
            ("IPS", value.ips),
            ("SNIPS", value.snips),
            ("doubly robust", value.doubly_robust),
        )
    )
    yield Listed(_VALUES, rows)
    yield Said(
        f"Weighed were {value.ips.requests} requests by {value.ips.readers} readers of experiment "
        f"{value.experiment}, which earned {value.logged:.2%} ({value.metric})."
    )


def _lift(found: IntervalOut | None) -> tuple[str, str, str, str]:
    if found is None:
        return _NOTHING
    return f"{found.estimate:+.1%}", f"{found.low:+.1%}", f"{found.high:+.1%}", f"{found.p_value:.3f}"


def _value(found: ValueOut) -> tuple[str, str, str, str]:
    return f"{found.estimate:.2%}", f"{found.low:.2%}", f"{found.high:.2%}", f"{found.effective_size:.0f}"
