"""The data that text models are measured on: pairs of sentences with scores, and reviews of films."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearfeed_embedder.text.simcse import Pair

NEW_FILMS = 0.2
KNOWN_PARTS = (0.6, 0.8)


@dataclass(frozen=True)
class Sts:
    """Pairs of sentences, and how alike people found them, from 0 to 5 (n)."""

    first: list[str]
    second: list[str]
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class Reviews:
    """Texts, and the film of each (n)."""

    texts: list[str]
    films: NDArray[np.int64]

    def take(self, rows: NDArray[np.intp]) -> "Reviews":
        return Reviews([self.texts[row] for row in rows], self.films[rows])


def read_sts(file: Path) -> Sts:
    """A .tsv of KorSTS, with names in the first line, or a .csv of (sentence, sentence, score)."""
    with file.open(newline="") as opened:
        if file.suffix == ".tsv":
            named = csv.DictReader(opened, delimiter="\t", quoting=csv.QUOTE_NONE)
            rows = [(row["sentence1"], row["sentence2"], row["score"]) for row in named]
        else:
            rows = [(first, second, score) for first, second, score in csv.reader(opened)]
    first, second, scores = zip(*rows, strict=True)
    return Sts(list(first), list(second), np.array(scores, dtype=np.float64))


def read_reviews(file: Path) -> Reviews:
    """Lines of JSON with `text` and `film_id`."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return Reviews([row["text"] for row in rows], np.array([row["film_id"] for row in rows]))


def split_reviews(reviews: Reviews, seed: int) -> Mapping[str, Reviews]:
    """train, dev and test of the same films, and dev-new and test-new of films that train does not have.

    A fifth of the films is new, half of them for each; 60 % of the reviews of every other film are in
    train, the rest is halved.
    """
    rng = np.random.default_rng(seed)
    films = rng.permutation(np.unique(reviews.films))
    new = round(NEW_FILMS * len(films))
    parts: dict[str, list[NDArray[np.intp]]] = {
        name: [] for name in ("train", "dev", "test", "dev-new", "test-new")
    }
    for place, film in enumerate(films):
        rows = rng.permutation(np.flatnonzero(reviews.films == film))
        if place < new:
            parts["dev-new" if place < new // 2 else "test-new"].append(rows)
            continue
        cuts = [round(share * len(rows)) for share in KNOWN_PARTS]
        for name, part in zip(("train", "dev", "test"), np.split(rows, cuts), strict=True):
            parts[name].append(part)
    return {name: reviews.take(np.concatenate(rows)) for name, rows in parts.items()}


def pairs_of_films(reviews: Reviews, seed: int) -> list[Pair]:
    """Each review of a film with the next in a random circle, so that each is first once and second once."""
    rng = np.random.default_rng(seed)
    pairs: list[Pair] = []
    for film in np.unique(reviews.films):
        circle = rng.permutation(np.flatnonzero(reviews.films == film))
        texts = [reviews.texts[row] for row in circle]
        pairs += zip(texts, [*texts[1:], texts[0]], strict=True)
    return pairs
