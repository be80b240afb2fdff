"""What pages cost, for docs/serving.md."""

from benchmarks.report.rows import line, machine, read


def figures() -> str:
    """Latency by rate, the highest rate, and the mean time of each source and step."""
    rows = read("pages.csv")
    by_name = {row["measure"]: row for row in rows}
    rates = sorted({name.split(" ")[0] for name in by_name if " pages/s: " in name}, key=float)
    table = [line("pages a second", "p50", "p95", "p99", "degraded"), line(*["---"] * 5)]
    for rate in rates:
        cells = [f"{by_name[f'{rate} pages/s: {part}']['value']} ms" for part in ("p50", "p95", "p99")]
        table.append(line(rate, *cells, f"{by_name[f'{rate} pages/s: degraded']['value']} %"))
    costs = [line("source or step", "mean"), line("---", "---")]
    costs += [
        line(name.removesuffix(": mean"), f"{row['value']} ms")
        for name, row in by_name.items()
        if name.endswith(": mean")
    ]
    highest = next(row for name, row in by_name.items() if name.startswith("highest rate"))
    told = (
        f"{rows[0]['posts']} posts, {machine(rows[0])}, everything on it, the clients too. "
        f"The {highest['measure']}: {highest['value']}.\n"
    )
    return "\n".join([told, *table, "", *costs, ""])
