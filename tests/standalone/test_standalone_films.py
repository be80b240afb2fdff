"""MovieLens as a community, on a slice that is counted by hand and on the whole."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from nearfeed_standalone.demo import files
from nearfeed_standalone.demo.films import films_of, load_ratings, newest_second
from nearfeed_standalone.importing.kinds import KINDS

DAY = 86_400
RATINGS = pl.DataFrame(
    {
        "movieId": [1, 2, 3, 4, 5, 6, 1, 7],
        "title": ["One", "Two", "Three", "Four", "Five", "Six", "One", None],
        "year": [1995.0, 1996.0, 1995.0, 1995.0, 1995.0, 1995.0, 1995.0, None],
        "genres": [*["Comedy|Crime"] * 5, "Sci-Fi", "Comedy|Crime", "(no genres listed)"],
        "userId": [7, 7, 7, 7, 7, 7, 8, 8],
        "rating": [4.0, 3.5, 5.0, 0.5, 4.0, 4.5, 2.0, 3.0],
        "timestamp": [5 * DAY, 4 * DAY, 3 * DAY, 2 * DAY, 1 * DAY, 6 * DAY, 7 * DAY, 8 * DAY],
    }
)
SHIFT = 1_000 * DAY


def at(day: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=1_000 + day)


def test_films_are_posts_of_their_first_genre() -> None:
    rows = {row["item_id"]: row for row in films_of(RATINGS, SHIFT).items.iter_rows(named=True)}
    assert len(rows) == 7
    assert rows["1"] == {
        "item_id": "1",
        "community_id": "Comedy",
        "author_id": "films-of-1995",
        "title": "One",
        "tags": ["Comedy", "Crime"],
        "published_at": at(5),
    }
    assert (rows["7"]["community_id"], rows["7"]["tags"]) == ("no-genre", [])
    assert (rows["7"]["title"], rows["7"]["author_id"]) == ("Film 7", "films-of-an-unknown-year")


def test_a_rating_is_a_reading_and_a_good_one_a_like() -> None:
    rows = films_of(RATINGS, SHIFT).interactions.rows()
    kinds = Counter((user, item, kind) for user, item, kind, _ in rows)
    assert set(kinds.values()) == {1}
    assert {(user, item) for user, item, kind in kinds if kind == "read"} == {
        (str(user), str(item)) for user, item in zip(RATINGS["userId"], RATINGS["movieId"], strict=True)
    }
    assert {item for _, item, kind in kinds if kind == "like"} == {"1", "3", "5", "6"}
    assert [row[3] for row in rows] == sorted(row[3] for row in rows)
    assert rows[-1][3] == at(8)


def test_five_readings_make_a_member() -> None:
    assert films_of(RATINGS, SHIFT).memberships.rows() == [("7", "Comedy", at(5))]
    fewer = RATINGS.filter(pl.col("movieId") != 5)
    assert films_of(fewer, SHIFT).memberships.is_empty()


def test_all_of_movielens() -> None:
    ratings = load_ratings()
    films = films_of(ratings, 0)
    assert (len(ratings), len(films.items)) == (100_004, 9_066)
    assert films.interactions["user_id"].n_unique() == 671
    assert films.interactions["kind"].value_counts(sort=True).rows() == [
        ("read", 100_004),
        ("like", int((ratings["rating"] >= 4).sum())),
    ]
    for kind in ("items", "interactions", "memberships"):
        rows = getattr(films, kind).head(500).to_dicts() + getattr(films, kind).tail(500).to_dicts()
        for row in rows:
            KINDS[kind].model.model_validate(row)


def test_times_end_now_and_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "load_ratings", lambda: RATINGS)
    monkeypatch.setattr("time.time", lambda: 5_000 * DAY + 0.5)
    paths = files.films_in(tmp_path)
    newest = pl.read_parquet(paths["interactions"])["occurred_at"].max()
    assert newest == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=5_000)
    before = {kind: path.read_bytes() for kind, path in paths.items()}
    paths["items"].unlink()
    monkeypatch.setattr("time.time", lambda: 6_000 * DAY)
    assert {kind: path.read_bytes() for kind, path in files.films_in(tmp_path).items()} == before
    assert newest_second(RATINGS) == 8 * DAY
