"""How well posts are found that were hidden from training, and how often they are shown."""

from benchmarks.new_posts import MEAN
from benchmarks.report.rows import Row, line, machine, read
from nearfeed_embedder.run import MODEL

_FIGURES = """\
| seed | recall@20 | 95 % interval | of text | times text | places | readings |
|---|---|---|---|---|---|---|
{seeds}

| mean of {count} seeds | recall@20 | times text | places | new, beside old | old, beside new | old alone |
|---|---|---|---|---|---|---|
{means}

{readers} readers; hidden posts are {candidates} of the candidates and {readings} of the readings ({place}).
"""
_MEANS = (
    "recall",
    "ratio_to_text",
    "new_share",
    "recall_new_beside_old",
    "recall_old_beside_new",
    "recall_old_alone",
)


def figures() -> str:
    rows = read("new_posts.csv")
    means = [row for row in rows if row["seed"] == MEAN]
    of_text = {row["seed"]: row["recall"] for row in rows if row["model"] == "text"}
    whole = [row for row in rows if row["model"] == MODEL and row["seed"] != MEAN]
    return _FIGURES.format(
        seeds="\n".join(_seed(row, of_text[row["seed"]]) for row in whole),
        means="\n".join(line(row["model"], *(row[name] for name in _MEANS)) for row in means),
        count=len(whole),
        readers=f"{float(means[0]['readers']):.0f}",
        candidates=f"{float(means[0]['new_share_of_candidates']):.1%}",
        readings=f"{float(means[0]['new_share_of_readings']):.1%}",
        place=machine(whole[0]),
    )


def _seed(row: Row, of_text: str) -> str:
    interval = f"[{row['recall_low']}, {row['recall_high']}]"
    cells = (row["ratio_to_text"], row["new_share"], row["new_share_of_readings"])
    return line(row["seed"], row["recall"], interval, of_text, *cells)
