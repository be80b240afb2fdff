"""What is held out, and what taste comes of it: never of what was imported."""

from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad
from scipy.special import expit
from threadpoolctl import threadpool_limits

from nearfeed_standalone.demo.films import LIKED_FROM, films_of
from nearfeed_standalone.demo.holding_out import READINGS_OF_A_SIMULATED, split
from nearfeed_standalone.demo.tastes import fitted, tastes_of

GENRES = ("Comedy", "Drama", "Crime", "Sci-Fi")
FILMS = 90
COLUMNS = ("movieId", "title", "year", "genres", "userId", "rating", "timestamp")


def rating_row(reader: int, film: int, rating: float, at: int) -> dict[str, Any]:
    genres = "|".join(GENRES[: 1 + film % 3][::-1])
    values = (film, f"Film {film}", 1950.0 + film % 60, genres, reader, rating, at)
    return dict(zip(COLUMNS, values, strict=True))


@st.composite
def ratings_of_some(draw: st.DrawFn) -> pl.DataFrame:
    """Readers with few ratings and with many, in any order, many of them at the same time."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = draw(st.lists(st.integers(1, FILMS), min_size=1, max_size=4))
    rows = [
        rating_row(reader, int(film), float(random.integers(1, 11)) / 2, int(random.integers(0, 30)))
        for reader, size in enumerate(sizes, 1)
        for film in random.permutation(FILMS)[:size]
    ]
    return pl.DataFrame([rows[place] for place in random.permutation(len(rows))])


def pairs(ratings: pl.DataFrame) -> set[tuple[int, int]]:
    return set(ratings.select("userId", "movieId").iter_rows())


@settings(deadline=None)
@given(ratings_of_some())
def test_the_later_third_is_held_out_of_readers_with_enough(ratings: pl.DataFrame) -> None:
    kept, held_out = split(ratings)
    assert pairs(kept) | pairs(held_out) == pairs(ratings)
    assert len(kept) + len(held_out) == len(ratings)
    counts = Counter(ratings["userId"])
    for reader, count in counts.items():
        earlier = kept.filter(pl.col("userId") == reader)["timestamp"]
        later = held_out.filter(pl.col("userId") == reader)["timestamp"]
        assert len(later) == (count // 3 if count >= READINGS_OF_A_SIMULATED else 0)
        assert not len(later) or earlier.max() <= later.min()  # type: ignore[operator]


@settings(deadline=None)
@given(ratings_of_some(), st.integers(0, 2**32))
def test_the_order_of_the_rows_does_not_matter(ratings: pl.DataFrame, seed: int) -> None:
    kept, held_out = split(ratings.sample(fraction=1, shuffle=True, seed=seed))
    assert kept.equals(split(ratings).kept)
    assert held_out.equals(split(ratings).held_out)


@settings(max_examples=15, deadline=None)
@given(ratings_of_some(), st.integers(0, 3))
def test_taste_never_looks_at_what_is_imported(ratings: pl.DataFrame, seed: int) -> None:
    kept, held_out = split(ratings)
    films = films_of(ratings, 0, kept).items
    tastes = tastes_of(held_out, films, seed)
    other = kept.with_columns(rating=5.5 - pl.col("rating"))
    again = tastes_of(split(pl.concat([other, held_out])).held_out, films_of(ratings, 0, other).items, seed)
    assert again.readers == tastes.readers == tuple(map(str, sorted(set(held_out["userId"]))))
    assert np.array_equal(again.values, tastes.values)


@settings(max_examples=15, deadline=None)
@given(ratings_of_some())
def test_what_was_liked_is_wholly_to_the_taste_and_the_rest_within_bounds(ratings: pl.DataFrame) -> None:
    held_out = split(ratings).held_out
    tastes = tastes_of(held_out, films_of(ratings, 0).items)
    assert tastes.values.shape == (len(tastes.readers), len(tastes.places))
    assert np.all((tastes.values >= 0) & (tastes.values <= 1))
    for number, reader in enumerate(tastes.readers):
        liked = held_out.filter((pl.col("userId") == int(reader)) & (pl.col("rating") >= LIKED_FROM))
        ids = [str(film) for film in liked["movieId"]]
        assert np.all(tastes.of(number, ids) == 1)
    assert tastes.values.size == 0 or tastes.of(0, ["no film"]) == [0]


def test_a_lover_of_comedies_takes_to_those_that_they_have_not_rated() -> None:
    comedies = [film for film in range(FILMS) if film % 3 == 0]
    dramas = [film for film in range(FILMS) if film % 3 == 1]
    rows = [rating_row(1, film, 5.0, film) for film in comedies]
    rows += [rating_row(2, film, 5.0, film) for film in dramas]
    first = pl.DataFrame([row for row in rows if row["timestamp"] < FILMS // 2])
    tastes = tastes_of(first, films_of(pl.DataFrame(rows), 0).items)
    rest = [[str(film) for film in some if film >= FILMS // 2] for some in (comedies, dramas)]
    for number in (0, 1):
        own, other = tastes.of(number, rest[number]), tastes.of(number, rest[1 - number])
        assert own.min() > other.max()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 10))
def test_weights_are_the_most_probable_ones(seed: int, stiffness: float) -> None:
    random = np.random.default_rng(seed)
    features, labels = random.normal(size=(30, 4)), random.integers(0, 2, 30).astype(float)
    prior = random.normal(size=4)
    with threadpool_limits(1, "blas"):
        weights = fitted(features, labels, prior, stiffness)
    slope = features.T @ (expit(features @ weights) - labels) + stiffness * (weights - prior)
    assert np.abs(slope).max() < 1e-2


def test_the_slope_is_that_of_the_loss() -> None:
    random = np.random.default_rng(0)
    features, labels = random.normal(size=(30, 4)), random.integers(0, 2, 30).astype(float)

    def loss(weights: np.ndarray) -> float:
        chances = expit(features @ weights)
        return float(-np.sum(np.log(np.where(labels == 1, chances, 1 - chances))))

    def slope(weights: np.ndarray) -> np.ndarray:
        return features.T @ (expit(features @ weights) - labels)

    assert check_grad(loss, slope, random.normal(size=4)) == pytest.approx(0, abs=1e-4)
