"""The options of `evaluate` on the command line."""

from pathlib import Path
from typing import Annotated

import typer

from nearfeed_embedder.comparison.lists import Mask, Part

_BY_TIME = "Split by time"
_LISTS = "Given lists"
_LIST = "lines of a reader and their items, with blanks between"

Models = Annotated[list[str] | None, typer.Argument(help="Baselines, runs and blends.", show_default=False)]
Reference = Annotated[str | None, typer.Option(help="The model to compare with; the first one by default.")]
Csv = Annotated[Path | None, typer.Option(help="Write all metrics, slices and intervals to this file.")]
Items = Annotated[Path | None, typer.Option(help="Posts in the import format, for their titles.")]
Interactions = Annotated[
    Path | None,
    typer.Option(help="Interactions in the import format, not those in SQL.", rich_help_panel=_BY_TIME),
]
Share = Annotated[
    float,
    typer.Option(min=0.01, max=0.99, help="Readings that lie before the cut.", rich_help_panel=_BY_TIME),
]
LeastLater = Annotated[
    int, typer.Option(min=2, help="Readings after the cut that a reader must have.", rich_help_panel=_BY_TIME)
]
NewPosts = Annotated[
    bool,
    typer.Option("--new-posts", help="Rank also what nobody read before the cut.", rich_help_panel=_BY_TIME),
]
TrainFile = Annotated[
    Path | None, typer.Option(help=f"What models learn from: {_LIST}.", rich_help_panel=_LISTS)
]
ValidFile = Annotated[Path | None, typer.Option(help="What models are tuned on.", rich_help_panel=_LISTS)]
TestFile = Annotated[Path | None, typer.Option(help="What models are reported on.", rich_help_panel=_LISTS)]
On = Annotated[Part, typer.Option(help="The metric to detect.", rich_help_panel=_LISTS)]
Masked = Annotated[
    Mask,
    typer.Option(
        help="What is never ranked on test; published figures mask train alone.", rich_help_panel=_LISTS
    ),
]
