"""What is kept from training, so that readers can be simulated whom the models do not know.

Of every reader with some readings, the later third is held out: nothing is imported of it, and nothing
trained on it. A cut at one time for all would leave hardly anybody on both sides of it, for most readers of
MovieLens rated all their films within days.
"""

from typing import NamedTuple

import polars as pl

READINGS_OF_A_SIMULATED = 40
HELD_OUT = 1 / 3


class Split(NamedTuple):
    """The ratings that are imported and trained on, and those that make the tastes of simulated readers."""

    kept: pl.DataFrame
    held_out: pl.DataFrame


def split(ratings: pl.DataFrame) -> Split:
    """Ratings as they are loaded, in two parts, each in its order of time."""
    of_reader = pl.len().over("userId")
    earlier = pl.int_range(pl.len()).over("userId")  # how many they rated before
    kept_of_reader = of_reader - (of_reader * HELD_OUT).floor().cast(pl.UInt32)
    later = (of_reader >= READINGS_OF_A_SIMULATED) & (earlier >= kept_of_reader)
    marked = ratings.sort("timestamp", "userId", "movieId").with_columns(later=later)
    return Split(marked.filter(~pl.col("later")).drop("later"), marked.filter("later").drop("later"))
