"""How fast random walks are served, and what ending them early keeps."""

from benchmarks.report.rows import line, machine, read

_FIGURES = """\
| | |
|---|---|
{rows}

{edges} edges, requests of {steps} steps on {threads} threads ({place}; load average {load}).
"""


def figures() -> str:
    rows = read("pixie.csv")
    most = max(int(row["edges"]) for row in rows)
    shown = [row for row in rows if row["edges"] == str(most)]
    return _FIGURES.format(
        rows="\n".join(line(row["measure"], f"{row['value']} {row['unit']}".strip()) for row in shown),
        edges=f"{most:,}",
        place=machine(shown[0]),
        load=shown[0]["load_average"],
        **{name: shown[0][name] for name in ("steps", "threads")},
    )
