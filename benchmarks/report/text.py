"""How good text vectors are, and how fast they are made."""

from benchmarks.report.rows import Row, line, read
from benchmarks.text import BASE

MODELS = (BASE, "unsupervised", "supervised")

_TEXT = """\
| | {models} |
|---|{rule}
{quality}

Fine-tuning: {trained}.

| texts | {measures} |
|---|{speed_rule}
{speed}

On {place}; the load average before was {load}.
"""


def figures() -> str:
    quality, speed = read("text.csv"), read("text_speed.csv")
    cells = {(row["data"], row["measure"], row["model"]): _cell(row) for row in quality}
    lines = dict.fromkeys((data, measure) for data, measure, _ in cells)
    trained = {row["model"]: row["trained"] for row in quality if row["trained"]}
    texts = list(dict.fromkeys(row["texts"] for row in speed))
    measures = list(dict.fromkeys(row["measure"] for row in speed))
    timed = {
        (row["texts"], row["measure"]): f"{float(row['value']):,.{_digits(row)}f} {row['unit']}"
        for row in speed
    }
    machine = speed[0]
    return _TEXT.format(
        models=" | ".join(MODELS),
        rule="---|" * len(MODELS),
        quality="\n".join(
            line(f"{data}: {measure}", *(cells.get((data, measure, model), "") for model in MODELS))
            for data, measure in lines
        ),
        trained=";\n".join(f"{model} {how}" for model, how in trained.items()),
        measures=" | ".join(measures),
        speed_rule="---|" * len(measures),
        speed="\n".join(
            line(name, *(timed[name, measure].strip() for measure in measures)) for name in texts
        ),
        place=f"{machine['cores']} cores, {machine['processor']}, {machine['threads']} threads",
        load=", ".join(dict.fromkeys(row["load_average"] for row in speed)),
    )


def _digits(row: Row) -> int:
    """After the point: of milliseconds one, else none."""
    return int(row["unit"] == "ms")


def _cell(row: Row) -> str:
    gain = "" if row["model"] == BASE or not row["gain_over_base"] else f" ({row['gain_over_base']})"
    return f"{row['value']}{gain}"
