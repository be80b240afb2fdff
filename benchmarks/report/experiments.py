"""How often simulated experiments are called different, and what bandits cost."""

from benchmarks.report.rows import Row, line, machine, read

_WATCHED = """\
| readers | metric | number | called different | with a test for one look |
|---|---|---|---|---|
{without}

With a true lift, and as many readers as sizing wants for a power of {promised}:

| readers | metric | lift | number | found |
|---|---|---|---|---|
{with_lift}

{experiments} experiments each, looked at after each of {days} days ({place}).
"""
_REGRET = """\
| | choice | outcomes late by | regret after {first} requests | after {last} |
|---|---|---|---|---|
{lines}

Means of {runs} runs, with a floor of {floor} for each arm and {batch} requests a batch ({place}).
"""


def watched() -> str:
    rows = read("watched.csv")
    with_lift = [row for row in rows if float(row["lift"])]
    return _WATCHED.format(
        without="\n".join(
            line(row["readers"], row["metric"], row["number"], _share(row["sequence"]), _share(row["z"]))
            for row in rows
            if not float(row["lift"])
        ),
        with_lift="\n".join(
            line(row["readers"], row["metric"], _share(row["lift"]), row["number"], _share(row["sequence"]))
            for row in with_lift
        ),
        promised=_share(with_lift[0]["promised"]),
        experiments=rows[0]["experiments"],
        days=rows[0]["days"],
        place=machine(rows[0]),
    )


def regret() -> str:
    rows = read("bandits.csv")
    ends = sorted({int(row["requests"]) for row in rows})
    first, last = ends[len(ends) // 4 - 1], ends[-1]
    found = {(_case(row), int(row["requests"])): row["regret"] for row in rows}
    return _REGRET.format(
        first=f"{first:,}",
        last=f"{last:,}",
        lines="\n".join(
            line(*case, *(f"{float(found[case, end]):,.0f}" for end in (first, last)))
            for case in dict.fromkeys(map(_case, rows))
        ),
        runs=rows[0]["runs"],
        floor=rows[0]["floor"],
        batch=rows[0]["per_batch"],
        place=machine(rows[0]),
    )


def _case(row: Row) -> tuple[str, str, str]:
    return row["setting"], row["policy"], f"{row['delay']} batch{'' if row['delay'] == '1' else 'es'}"


def _share(value: str) -> str:
    return f"{float(value):.1%}".replace(".0%", "%").replace("%", " %")
