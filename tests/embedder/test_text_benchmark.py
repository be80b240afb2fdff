"""What `python -m benchmarks.text` measures, on cases that are worked out by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from benchmarks.text import film_rows, pairs_within, same_film, sts_rows
from benchmarks.text_data import Reviews, Sts, pairs_of_films, read_reviews, read_sts, split_reviews


def test_sts_is_read_from_both_kinds_of_files(tmp_path: Path) -> None:
    tabs, commas = tmp_path / "korsts-dev.tsv", tmp_path / "stsb-en-dev.csv"
    tabs.write_text(
        'genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2\nnews\tf\t2012\t1\t2.500\t"한 소녀\t한 소년\n'
    )
    commas.write_text('"A girl, running.",A girl runs.,4.75\n')
    korean, english = read_sts(tabs), read_sts(commas)
    assert (korean.first, korean.second, korean.scores.tolist()) == (['"한 소녀'], ["한 소년"], [2.5])
    assert (english.first, english.second) == (["A girl, running."], ["A girl runs."])
    assert english.scores.tolist() == [4.75]


def reviews_of(films: int, each: int) -> Reviews:
    texts = [f"review {number} of film {film}" for film in range(films) for number in range(each)]
    return Reviews(texts, np.repeat(np.arange(films), each))


def test_reviews_are_read(tmp_path: Path) -> None:
    file = tmp_path / "reviews.jsonl"
    file.write_text("".join(json.dumps({"text": f"t{n}", "film_id": n // 2}) + "\n" for n in range(4)))
    reviews = read_reviews(file)
    assert (reviews.texts, reviews.films.tolist()) == (["t0", "t1", "t2", "t3"], [0, 0, 1, 1])


def test_what_is_held_out_is_not_learned_from() -> None:
    reviews = reviews_of(films=20, each=10)
    parts = split_reviews(reviews, seed=0)
    assert sorted(text for part in parts.values() for text in part.texts) == sorted(reviews.texts)
    assert {name: len(part.texts) for name, part in parts.items()} == {
        "train": 16 * 6,
        "dev": 16 * 2,
        "test": 16 * 2,
        "dev-new": 2 * 10,
        "test-new": 2 * 10,
    }
    films = {name: set(part.films) for name, part in parts.items()}
    assert films["train"] == films["dev"] == films["test"]
    assert not films["train"] & films["dev-new"]
    assert not (films["train"] | films["dev-new"]) & films["test-new"]


def test_pairs_are_two_reviews_of_one_film() -> None:
    pairs = pairs_of_films(reviews_of(films=3, each=4), seed=0)
    assert all(one != other and one.split()[-1] == other.split()[-1] for one, other in pairs)
    firsts, seconds = zip(*pairs, strict=True)
    assert len(set(firsts)) == len(set(seconds)) == len(pairs) == 12


def test_same_film_by_hand() -> None:
    # Reviews at angles; film 0 has three, film 1 two. Each asks for the others by cosine.
    angles = np.deg2rad([0, 10, 90, 15, 80])
    films = np.array([0, 0, 0, 1, 1])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = same_film(vectors, films)
    # Ranked: 0: 1 3 4 2, 1: 3 0 4 2, 2: 4 3 1 0, 3: 1 0 4 2, 4: 2 3 1 0.
    gain = [1 / math.log2(rank + 1) for rank in range(1, 5)]
    best = gain[0] + gain[1]
    ndcg_of_film_0 = [(gain[0] + gain[3]) / best, (gain[1] + gain[3]) / best, (gain[2] + gain[3]) / best]
    assert found[:, 0].tolist() == [1, 1]
    assert found[0, 1] == pytest.approx(np.mean(ndcg_of_film_0))
    assert found[1, 1] == pytest.approx(np.mean([gain[2], gain[1]]))


def test_gains_are_paired_by_film() -> None:
    base = np.array([[0.1, 0.2], [0.5, 0.6], [0.9, 0.1]])
    recall, _ = film_rows("known films", base + 0.05, base)
    assert recall["value"] == "0.5500"
    assert recall["gain_over_base"] == "+0.0500 [+0.0500, +0.0500]"


def test_pairs_within_a_film() -> None:
    first, second = pairs_within(np.array([7, 8, 7, 7]))
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 2), (0, 3), (2, 3)]


def test_sts_by_hand() -> None:
    # Cosines 1, .6 and 0 in the order of the scores but for one exchange: 1 - 6 (0 + 1 + 1) / (3 · 8).
    first = np.array([[1.0, 0.0]] * 3, np.float32)
    second = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], np.float32)
    pairs = Sts(["a", "b", "c"], ["a", "d", "e"], np.array([5.0, 1.0, 4.5]))
    rows = {row["measure"]: row["value"] for row in sts_rows("sts", pairs, first, second)}
    assert rows["spearman"] == "0.5000"
    # Of the pairs above 4, one is equal and one at a squared distance of 2.
    assert rows["alignment"] == "1.0000"
    # The three different vectors are at squared distances of .8, 2 and .4.
    spread = sum(math.exp(-2 * distance) for distance in (0.8, 2, 0.4)) / 3
    assert rows["uniformity"] == f"{math.log(spread):.4f}"
