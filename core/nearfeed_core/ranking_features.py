"""Features of rankers: a pure function of what is known of a reader and of candidates when these are served.

Training reads the inputs back from the ledger and calls the same function, so its features are those that
were served, bit for bit. Where a post stood is a feature in training alone (`position`): there it takes the
blame for what readers did not look at, and serving feeds the first place for every candidate.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.errors import NearfeedError
from nearfeed_core.ranking_inputs import PostInputs, ReaderInputs
from nearfeed_core.readings import HOUR_MICROS

Served = tuple[ReaderInputs, Sequence[PostInputs]]

RANK_OFFSET = 60.0
UNKNOWN = 0
CATEGORIES = ("community", "author", "tag", "reader_community")
_OF_ALL = (
    "log_age_hours",
    "log_readers",
    "log_readings",
    "community_affinity",
    "author_affinity",
    "tag_affinity",
    "best_tag_affinity",
    "hour_sin",
    "hour_cos",
    "weekday_sin",
    "weekday_cos",
    "sources",
    "fused_rank",
)
POSITION = "position"


class FeatureSpecError(NearfeedError):
    """A ranker's file that does not say what its features are."""


@dataclass(frozen=True)
class Features:
    """`dense` (n, number of dense features), normalised but for the position, `categories` (n, 4)."""

    dense: NDArray[np.float32]
    categories: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.dense)

    @property
    def flat(self) -> NDArray[np.float32]:
        """Both side by side, for models that take one matrix."""
        return np.concatenate([self.dense, self.categories.astype(np.float32)], axis=1)


@dataclass(frozen=True)
class FeatureSpec:
    """What the columns are. A category's number is its place in the vocabulary plus 1; 0 is any other.

    `ranked` sources have a feature for their rank, `scored` ones another for their score. `means` and
    `scales` are those of the dense features but the position.
    """

    ranked: tuple[str, ...]
    scored: tuple[str, ...]
    communities: tuple[str, ...]
    authors: tuple[str, ...]
    tags: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]

    @property
    def dense(self) -> tuple[str, ...]:
        """Names of the dense features, in the order of their columns; the last is the position."""
        return (*_raw_names(self.ranked, self.scored), POSITION)

    @property
    def category_sizes(self) -> tuple[int, ...]:
        """How many numbers each of CATEGORIES has."""
        sizes = (self.communities, self.authors, self.tags, self.communities)
        return tuple(len(vocabulary) + 1 for vocabulary in sizes)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "FeatureSpec":
        """Raises FeatureSpecError."""
        try:
            spec = cls(**{name: tuple(body[name]) for name in cls.__dataclass_fields__})
            _check(spec)
        except (KeyError, TypeError, ValueError) as error:
            raise FeatureSpecError(f"the features are not told as they should be: {error}.") from None
        return spec


def fit_spec(
    served: Sequence[Served], *, communities: int = 1_000, authors: int = 5_000, tags: int = 5_000
) -> FeatureSpec:
    """The sources, the most frequent words of each vocabulary, and means and scales of what was served."""
    posts = [post for _, of_reader in served for post in of_reader]
    ranked = tuple(sorted({source for post in posts for source in post.ranks}))
    scored = tuple(sorted({source for post in posts for source in post.scores}))
    raw = [_raw_dense(reader, of_reader, ranked, scored) for reader, of_reader in served]
    rows = np.concatenate([np.empty((0, len(_raw_names(ranked, scored)))), *raw])
    deviations = rows.std(axis=0) if len(rows) else np.ones(rows.shape[1])
    return FeatureSpec(
        ranked,
        scored,
        _most_frequent((post.community_id for post in posts), communities),
        _most_frequent((post.author_id for post in posts), authors),
        _most_frequent((tag for post in posts for tag in post.tags), tags),
        tuple((rows.mean(axis=0) if len(rows) else np.zeros(rows.shape[1])).tolist()),
        tuple(np.where(deviations > 0, deviations, 1.0).tolist()),
    )


class Featuriser:
    """Features by a spec, whose vocabularies it keeps as tables."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self._communities = _numbers(spec.communities)
        self._authors = _numbers(spec.authors)
        self._tags = _numbers(spec.tags)
        self._means = np.array(spec.means)
        self._scales = np.array(spec.scales)

    def features(
        self, reader: ReaderInputs, posts: Sequence[PostInputs], positions: Sequence[int] | None = None
    ) -> Features:
        """Of candidates of one request; `positions` (n), from 0, are given in training alone."""
        raw = _raw_dense(reader, posts, self.spec.ranked, self.spec.scored)
        placed = np.zeros(len(posts)) if positions is None else np.log1p(positions)
        dense = np.column_stack([(raw - self._means) / self._scales, placed])
        return Features(dense.astype(np.float32), self._categories(reader, posts))

    def _categories(self, reader: ReaderInputs, posts: Sequence[PostInputs]) -> NDArray[np.int64]:
        most = min(reader.communities.items(), key=_largest_first, default=("", 0.0))[0]
        home = self._communities.get(most, UNKNOWN)
        rows = [
            (
                self._communities.get(post.community_id, UNKNOWN),
                self._authors.get(post.author_id, UNKNOWN),
                self._tags.get(_tag_of(reader, post), UNKNOWN),
                home,
            )
            for post in posts
        ]
        return np.array(rows, np.int64).reshape(-1, len(CATEGORIES))


def _raw_names(ranked: Sequence[str], scored: Sequence[str]) -> tuple[str, ...]:
    return (*_OF_ALL, *(f"rank:{name}" for name in ranked), *(f"score:{name}" for name in scored))


def _raw_dense(
    reader: ReaderInputs, posts: Sequence[PostInputs], ranked: Sequence[str], scored: Sequence[str]
) -> NDArray[np.float64]:
    """(n, names) before they are normalised."""
    clock = _clock(reader.served_at)
    log_readings = math.log1p(reader.readings)
    rows = [
        (
            math.log1p(max(0, reader.served_at - post.published_at) / HOUR_MICROS),
            math.log1p(post.readers),
            log_readings,
            reader.communities.get(post.community_id, 0.0),
            reader.authors.get(post.author_id, 0.0),
            *_tag_affinity(reader, post),
            *clock,
            *_by_rank(post, ranked),
            *(post.scores.get(name, 0.0) for name in scored),
        )
        for post in posts
    ]
    return np.array(rows, np.float64).reshape(-1, len(_raw_names(ranked, scored)))


def _by_rank(post: PostInputs, ranked: Sequence[str]) -> tuple[float, ...]:
    """How many sources gave it, the sum of 60 / (59 + rank) over them, and each of these; 0 for none."""
    parts = [
        RANK_OFFSET / (RANK_OFFSET - 1 + post.ranks[name]) if name in post.ranks else 0.0 for name in ranked
    ]
    return (float(sum(part > 0 for part in parts)), sum(parts), *parts)


def _tag_affinity(reader: ReaderInputs, post: PostInputs) -> tuple[float, float]:
    shares = [reader.tags.get(tag, 0.0) for tag in post.tags]
    return sum(shares), max(shares, default=0.0)


def _tag_of(reader: ReaderInputs, post: PostInputs) -> str:
    """The tag that the reader has read most, the first of equals."""
    return max(post.tags, key=lambda tag: reader.tags.get(tag, 0.0), default="")


def _clock(served_at: int) -> tuple[float, float, float, float]:
    """Hour of the day and day of the week (UTC) as points of a circle; 1970 began on a Thursday."""
    hours = served_at / HOUR_MICROS
    day, week = 2 * math.pi * (hours % 24) / 24, 2 * math.pi * (int(hours // 24) % 7) / 7
    return math.sin(day), math.cos(day), math.sin(week), math.cos(week)


def _largest_first(entry: tuple[str, float]) -> tuple[float, str]:
    return -entry[1], entry[0]


def _most_frequent(values: Iterable[str], most: int) -> tuple[str, ...]:
    ordered = sorted(Counter(values).items(), key=_largest_first)
    return tuple(value for value, _ in ordered[:most])


def _numbers(vocabulary: Sequence[str]) -> dict[str, int]:
    return {word: number for number, word in enumerate(vocabulary, start=1)}


def _check(spec: FeatureSpec) -> None:
    expected = len(spec.dense) - 1
    for name in ("means", "scales"):
        numbers = np.array(getattr(spec, name), np.float64)
        if len(numbers) != expected or not np.isfinite(numbers).all():
            raise ValueError(f"{name} must be {expected} finite numbers")
