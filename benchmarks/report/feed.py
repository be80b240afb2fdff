"""What feeds cost, before and now: a short table for the README, all figures and sizing for operations."""

from collections.abc import Iterator, Sequence
from textwrap import fill

from benchmarks.feed.scenarios import SCENARIOS
from benchmarks.report.rows import line, machine, read_if_measured

NOW, BEFORE = "feed.csv", "feed_before.csv"
Key = tuple[str, str, str]
SHORT: dict[str, Key] = {
    "the demo, sequential: p50": ("demo", "sequential", "p50"),
    "the demo, sequential: p99": ("demo", "sequential", "p99"),
    "the demo, 8 connections": ("demo", "8 connections", "rate"),
    "50,000 posts, 8 connections": ("posts-50000", "8 connections", "rate"),
    "50,000 posts, 8 connections: p99": ("posts-50000", "8 connections", "p99"),
    "500,000 posts, sequential: p50": ("posts-500000", "sequential", "p50"),
    "Milvus, MariaDB and Kafka, sequential: p50": ("servers", "sequential", "p50"),
    "Milvus, MariaDB and Kafka, sequential: p99": ("servers", "sequential", "p99"),
    "Milvus, MariaDB and Kafka, 8 connections": ("servers", "8 connections", "rate"),
    "a page of three sections, 8 connections": ("page", "8 connections", "rate"),
    "similar posts, sequential: p50": ("similar", "sequential", "p50"),
    "one event a request, 8 connections": ("events", "8 connections", "rate"),
    "event to feed, same process: p95": ("delays", "event to feed, same process", "p95"),
    "event to feed, other process: p95": ("servers", "event to feed, other process", "p95"),
    "post to feed: p95": ("delays", "post to feed", "p95"),
    "memory of the demo's server": ("demo", "after load", "memory"),
    "start of the demo's server": ("demo", "start", "to /readyz"),
    "the demo's server at rest, of a core": ("demo", "idle", "of a core"),
}
_MEASURED = """\
Feeds of 20 posts, on {place}; the load generators ({generators}) run on it too. Medians of {runs} runs,
while other processes took up to {others} cores. The floor is the same framework with twenty cached posts and
one point read in SQLite, in the same run{floor}.
"""
_SHORT = """\
{measured}
| | before | now | of the floor |
|---|---|---|---|
{rows}

`make bench-feed` measures this; [docs/operations.md](docs/operations.md#sizing) has all loads, and sizing.
"""
_LOADS = ("rate", "p50", "p95", "p99", "slowest", "degraded", "refused", "failed")
_RISING = ("offered", "good", "degraded", "refused", "failed", "p50", "p99", "slowest")
_UNITS = {"1/s": "/s", "times": " times"}


class Figures:
    """Rows by scenario, load and measure."""

    def __init__(self, name: str) -> None:
        self.rows = read_if_measured(name)
        self._by_key = {(row["scenario"], row["load"], row["measure"]): row for row in self.rows}

    def cell(self, key: Key) -> str:
        row = self._by_key.get(key)
        return "" if row is None else _grouped(row["value"]) + _UNITS.get(row["unit"], f" {row['unit']}")

    def to_floor(self, key: Key) -> str:
        return self._by_key.get(key, {}).get("to_floor", "")

    def value(self, key: Key) -> float | None:
        row = self._by_key.get(key)
        return None if row is None else float(row["value"])

    def loads(self, scenario: str, measure: str) -> list[str]:
        """The loads of a scenario that have a measure."""
        return [row["load"] for row in self.rows if (row["scenario"], row["measure"]) == (scenario, measure)]

    def measures(self, scenario: str, load: str) -> list[str]:
        return [row["measure"] for row in self.rows if (row["scenario"], row["load"]) == (scenario, load)]


def short() -> str:
    """The figures by which versions are compared, as far as they were measured."""
    now, before = Figures(NOW), Figures(BEFORE)
    cells = {name: (before.cell(key), now.cell(key), now.to_floor(key)) for name, key in SHORT.items()}
    rows = (line(name, *each) for name, each in cells.items() if any(each))
    return _SHORT.format(measured=_measured(now, before), rows="\n".join(rows))


def full() -> str:
    """All scenarios, each with what was measured before and now, and what follows for sizing."""
    versions = {"now": Figures(NOW), "before": Figures(BEFORE)}
    parts = [_measured(*versions.values()), *_libraries(versions)]
    for scenario, described in SCENARIOS.items():
        tables = [
            *_loads(scenario, versions),
            *_rising(scenario, versions),
            *_single(scenario, versions),
        ]
        if tables:
            parts.append("\n".join([f"**{_upper(described.about)}** (`{scenario}`)", "", *tables]))
    parts += _sizing(versions["now"])
    return "\n".join(parts)


def _measured(now: Figures, before: Figures) -> str:
    """Where and how it was measured, and the floor's own rates."""
    newest = now if now.rows else before
    if not newest.rows:
        return "Not measured yet.\n"
    threads, loop = (newest.cell(("floor", f"{way}, 8 connections", "rate")) for way in ("threads", "loop"))
    floor = f": {threads} from a thread pool and {loop} from the event loop at 8 connections" if loop else ""
    runs = [int(row["runs"]) for row in newest.rows]
    text = _MEASURED.format(
        place=machine(newest.rows[0]),
        generators=newest.rows[0]["load_generators"],
        runs=" to ".join(map(str, sorted({min(runs), max(runs)}))),
        others=max(row["others_cores"] for row in newest.rows),
        floor=floor,
    )
    return fill(text, 115, break_on_hyphens=False) + "\n"


def _loads(scenario: str, versions: dict[str, Figures]) -> Iterator[str]:
    """Closed loops: one line for a load and version."""
    lines = [
        line(
            load,
            version,
            *(figures.cell((scenario, load, m)) for m in _LOADS),
            figures.to_floor((scenario, load, "rate")),
        )
        for load in _all_loads(scenario, versions, "rate")
        for version, figures in versions.items()
        if figures.cell((scenario, load, "rate"))
    ]
    if lines:
        yield from _table(("load", "", *_LOADS, "rate of the floor's"), lines)


def _rising(scenario: str, versions: dict[str, Figures]) -> Iterator[str]:
    """Open loops: one line for an offered rate and version."""
    lines = [
        line(load, version, *(figures.cell((scenario, load, m)) for m in _RISING))
        for load in _all_loads(scenario, versions, "good")
        for version, figures in versions.items()
        if figures.cell((scenario, load, "good"))
    ]
    if lines:
        yield from _table(("load", "", *_RISING), lines)


def _single(scenario: str, versions: dict[str, Figures]) -> Iterator[str]:
    """All that is no load: start, memory, rest, delays, stages."""
    shown = {*_all_loads(scenario, versions, "rate"), *_all_loads(scenario, versions, "good")}
    keys = dict.fromkeys(
        (row["load"], row["measure"])
        for figures in versions.values()
        for row in figures.rows
        if row["scenario"] == scenario and row["load"] not in shown
    )
    lines = [
        line(
            f"{load}: {measure}",
            *(figures.cell((scenario, load, measure)) for figures in reversed(versions.values())),
        )
        for load, measure in keys
    ]
    if lines:
        yield from _table(("", "before", "now"), lines)


def _sizing(now: Figures) -> Iterator[str]:
    """What a process needs and holds, as far as it was measured."""
    rate = now.value(("posts-50000", "8 connections", "rate"))
    small, large = (now.value((f"posts-{posts}", "after load", "memory")) for posts in (50_000, 500_000))
    if rate is not None:
        yield (
            f"One API process with 50,000 posts gives {rate:,.0f} feeds a second at 8 connections: "
            f"{60 * rate:,.0f} users who open a feed a minute.\n"
        )
    if small is not None and large is not None:
        post = (large - small) / 450_000
        yield (
            f"A post takes {post * 2**20:,.0f} bytes of a server with embedded back ends, with its vector of "
            f"256 dimensions; the rest takes {small - 50_000 * post:,.0f} MiB.\n"
        )


def _libraries(versions: dict[str, Figures]) -> Iterator[str]:
    for version, figures in versions.items():
        if figures.rows:
            row = figures.rows[0]
            text = (
                f"Versions {version}, {row['measured_at'][:10]}: Python {row['python']}, {row['libraries']}."
            )
            yield fill(text, 115, break_on_hyphens=False, break_long_words=False) + "\n"


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


def _all_loads(scenario: str, versions: dict[str, Figures], measure: str) -> list[str]:
    return list(dict.fromkeys(load for each in versions.values() for load in each.loads(scenario, measure)))


def _table(names: Sequence[str], lines: Sequence[str]) -> Iterator[str]:
    yield from (line(*names), line(*["---"] * len(names)), *lines, "")


def _grouped(value: str) -> str:
    """With commas, and without a fraction that says nothing."""
    number = float(value)
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
