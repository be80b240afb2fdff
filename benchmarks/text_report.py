"""Writes the figures of benchmarks/results/text.csv and text_speed.csv into docs/text.md.

python -m benchmarks.text_report
"""

import csv
from pathlib import Path

from benchmarks.text import BASE, RESULTS
from benchmarks.text_speed import RESULTS as SPEED

DOC = Path(__file__).parents[1] / "docs" / "text.md"
BEGIN, END = "<!-- figures:begin -->\n", "<!-- figures:end -->"
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
    """The document's section, from the CSV files alone."""
    quality, speed = _read(RESULTS), _read(SPEED)
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
            _line(f"{data}: {measure}", *(cells.get((data, measure, model), "") for model in MODELS))
            for data, measure in lines
        ),
        trained=";\n".join(f"{model} {how}" for model, how in trained.items()),
        measures=" | ".join(measures),
        speed_rule="---|" * len(measures),
        speed="\n".join(
            _line(name, *(timed[name, measure].strip() for measure in measures)) for name in texts
        ),
        place=f"{machine['cores']} cores, {machine['processor']}, {machine['threads']} threads",
        load=", ".join(dict.fromkeys(row["load_average"] for row in speed)),
    )


def _digits(row: dict[str, str]) -> int:
    """After the point: of milliseconds one, else none."""
    return int(row["unit"] == "ms")


def _cell(row: dict[str, str]) -> str:
    gain = "" if row["model"] == BASE or not row["gain_over_base"] else f" ({row['gain_over_base']})"
    return f"{row['value']}{gain}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def main() -> None:
    before, rest = DOC.read_text().split(BEGIN)
    DOC.write_text(before + BEGIN + figures() + END + rest.split(END, 1)[1])


if __name__ == "__main__":
    main()
