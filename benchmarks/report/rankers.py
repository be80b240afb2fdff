"""How rankers and the two stages after YouTube order what readers read later."""

from benchmarks.report.rows import Row, line, machine, read

_BLEND = "blend"
_TEXT = """\
| | recall@20 | gain over the blend | NDCG@20 | gain over the blend |
|---|---|---|---|---|
{rows}

{readers} readers, 95 % bootstrap intervals over readers, gains paired ({place}).
"""


def figures() -> str:
    rows = read("rankers.csv")
    return _TEXT.format(
        rows="\n".join(
            line(row["model"], *(cell for metric in ("recall@20", "ndcg@20") for cell in _cells(row, metric)))
            for row in rows
        ),
        readers=rows[0]["readers"],
        place=machine(rows[0]),
    )


def _cells(row: Row, metric: str) -> tuple[str, str]:
    gain = "" if row["model"] == _BLEND else row[f"{metric}_gain_over_blend"]
    return f"{row[metric]} {row[f'{metric}_interval']}", gain
