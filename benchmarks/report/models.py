"""How good the default model is on given lists, and what its parts contribute."""

from benchmarks.report.rows import Row, line, machine, read

_LISTS = """\
| | recall@20 | NDCG@20 | gain of the whole in recall@20 |
|---|---|---|---|
{rows}

{readers} readers, 95 % bootstrap intervals over readers, gains paired. The default, of {dim} dimensions for
PinSage and {linear_dim} for the linear part, was trained in {trained} ({place}).
"""
_BY_TIME = """\
| | recall@20 | NDCG@20 | gain of the whole in recall@20 |
|---|---|---|---|
{rows}

{readers} readers, 95 % bootstrap intervals over readers, gains paired ({place}).
"""
_BLENDING = """\
| {data} | recall@20 | NDCG@20 | gain of the blend in recall@20 | in NDCG@20 |
|---|---|---|---|---|
{rows}

{readers} readers, 95 % bootstrap intervals over readers, gains paired. The blend is
`{blend}`{others}.
"""
_ABLATION = """\
| | recall@20 | NDCG@20 |
|---|---|---|
{rows}
"""


def by_time() -> str:
    rows = read("by_time.csv")
    return _BY_TIME.format(rows=_models(rows), place=machine(rows[0]), readers=rows[0]["readers"])


def lists() -> str:
    rows = read("lists.csv")
    return _LISTS.format(
        rows=_models(rows),
        place=machine(rows[0]),
        **{name: rows[0][name] for name in ("readers", "dim", "linear_dim", "trained")},
    )


def blending() -> str:
    rows = read("blending.csv")
    return "\n".join(_blended([row for row in rows if row["data"] == data]) for data in _data_of(rows))


def ablation() -> str:
    return _ABLATION.format(
        rows="\n".join(line(row["variant"], row["recall@20"], row["ndcg@20"]) for row in read("ablation.csv"))
    )


def _data_of(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(row["data"] for row in rows))


def _blended(rows: list[Row]) -> str:
    lines = [
        line(
            row["model"],
            *(_with_interval(row, metric) for metric in ("recall@20", "ndcg@20")),
            *(_gain_of_blend(row, metric) for metric in ("recall@20", "ndcg@20")),
        )
        for row in rows
    ]
    return _BLENDING.format(rows="\n".join(lines), others=_other_blends(rows), **rows[0])


def _other_blends(rows: list[Row]) -> str:
    """Those beside the first, each on a line of its own."""
    others = [row for row in rows if row["blend"] != rows[0]["blend"]]
    return "".join(f",\nthe {row['model']} `{row['blend']}`" for row in others)


def _gain_of_blend(row: Row, metric: str) -> str:
    return "" if row["model"] == "blend" else row[f"{metric}_gain_of_blend"]


def _models(rows: list[Row]) -> str:
    return "\n".join(
        line(row["model"], _with_interval(row, "recall@20"), _with_interval(row, "ndcg@20"), _gain(row))
        for row in rows
    )


def _with_interval(row: Row, metric: str) -> str:
    return f"{row[metric]} {row[f'{metric}_interval']}"


def _gain(row: Row) -> str:
    return "" if row["model"] == "pinsage-linear" else row["recall@20_gain_of_whole"]
