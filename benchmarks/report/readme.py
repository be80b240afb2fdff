"""How good the demo is, and how fast it is made."""

from benchmarks.report.rows import Row, line, machine, read

QUALITY = (
    "pinsage-linear",
    "pinsage",
    "linear",
    "item-knn",
    "popularity",
    "gain over item-knn",
    "gain over popularity",
)
SPEED = ("import interactions: rate", "train", "train: peak memory", "load and activate: rate")

_TEXT = """\
MovieLens as in the demo: {readers} readers with at least 10 readings after the cut at 70 % of all readings in
time, full ranking, read posts masked, 95 % bootstrap intervals over readers.

| | recall@20 | NDCG@20 |
|---|---|---|
{quality}

On one machine with everything embedded ({place}):

| | |
|---|---|
{speed}

`make bench` measures all of this anew and writes this section and `benchmarks/results/embedded.csv`.
"""


def figures() -> str:
    rows = {row["measure"]: row for row in read("embedded.csv")}
    readers = float(rows["evaluated readers"]["value"])
    return _TEXT.format(
        readers=f"{readers:.0f}",
        place=machine(next(iter(rows.values()))),
        quality="\n".join(
            line(name, _interval(rows, name, "recall@20"), _interval(rows, name, "ndcg@20"))
            for name in QUALITY
        ),
        speed="\n".join(line(name, _value(rows[name])) for name in SPEED),
    )


def _interval(rows: dict[str, Row], name: str, metric: str) -> str:
    mean, low, high = (float(rows[f"{name}: {metric} {bound}"]["value"]) for bound in ("mean", "low", "high"))
    return f"{mean:.4f} [{low:.4f}, {high:.4f}]"


def _value(row: Row) -> str:
    return f"{float(row['value']):,.0f} {row['unit']}"
