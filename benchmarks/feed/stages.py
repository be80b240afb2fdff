"""What each stage of a feed costs, from the histograms at /metrics by difference."""

from collections.abc import Iterator, Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.feed.figures import Figure

HISTOGRAMS = {"nearfeed_step_seconds": ("step", "step"), "nearfeed_source_seconds": ("source", "type")}
Totals = Mapping[str, tuple[float, float]]


def totals(base: str) -> Totals:
    """Seconds and count of each step and source since the start of the server."""
    return read(httpx.get(f"{base}/metrics", timeout=30).raise_for_status().text)


def read(metrics: str) -> Totals:
    """The same, from the text of /metrics; providers are summed up."""
    found: dict[str, list[float]] = {}
    for family in text_string_to_metric_families(metrics):
        if family.name not in HISTOGRAMS:
            continue
        kind, label = HISTOGRAMS[family.name]
        for sample in family.samples:
            part = sample.name.removeprefix(f"{family.name}_")
            if part in ("sum", "count"):
                both = found.setdefault(f"{kind} {sample.labels[label]}", [0.0, 0.0])
                both[part == "count"] += sample.value
    return {name: (seconds, count) for name, (seconds, count) in found.items()}


def costs(before: Totals, after: Totals) -> Iterator[Figure]:
    """The mean of each step and source between two moments, in milliseconds."""
    for name, (seconds, count) in sorted(after.items()):
        earlier_seconds, earlier_count = before.get(name, (0.0, 0.0))
        if count > earlier_count:
            mean = (seconds - earlier_seconds) / (count - earlier_count)
            yield Figure("stages", name, 1_000 * mean, "ms")
