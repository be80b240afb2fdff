"""What a ranker may know of a candidate, as it was when the candidate was served.

Serving fills these in, the ledger keeps them, and training reads them back: features are a function of
them alone (`nearfeed_core.ranking_features`), so that they are the same in both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MOST_SHARES = 20


@dataclass(frozen=True)
class ReaderInputs:
    """A reader at the time of a request.

    `served_at` is in microseconds since 1970, `readings` the number of counting readings (512 at most);
    `communities`, `authors` and `tags` have the largest 20 shares of the readings' weight.
    """

    served_at: int
    readings: int = 0
    communities: Mapping[str, float] = field(default_factory=dict)
    authors: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "ReaderInputs":
        return cls(**{name: body[name] for name in cls.__dataclass_fields__ if name in body})


@dataclass(frozen=True)
class PostInputs:
    """A candidate at the time of a request.

    `published_at` is in microseconds since 1970, `readers` the number of its readers in the window of what
    is popular; `ranks` (from 1) and `scores` are those of each source that gave it.
    """

    item_id: str
    community_id: str
    author_id: str
    published_at: int
    tags: tuple[str, ...] = ()
    readers: int = 0
    ranks: Mapping[str, int] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "PostInputs":
        known = {name: body[name] for name in cls.__dataclass_fields__ if name in body}
        return cls(**known | {"tags": tuple(known.get("tags", ()))})


class WeighedPost(NamedTuple):
    """A counting reading: its weight, and what the post is."""

    weight: float
    community_id: str
    author_id: str
    tags: tuple[str, ...]


def reader_of(served_at: int, history: Iterable[WeighedPost]) -> ReaderInputs:
    """A reader by their newest 512 counting readings; a post's tags share its weight.

    Of each kind the 20 largest shares are kept.
    """
    communities: dict[str, float] = {}
    authors: dict[str, float] = {}
    tags: dict[str, float] = {}
    total, count = 0.0, 0
    for weight, community_id, author_id, own_tags in history:
        total, count = total + weight, count + 1
        communities[community_id] = communities.get(community_id, 0.0) + weight
        authors[author_id] = authors.get(author_id, 0.0) + weight
        for tag in own_tags:
            tags[tag] = tags.get(tag, 0.0) + weight / len(own_tags)
    shares = (_largest(weights, total) for weights in (communities, authors, tags))
    return ReaderInputs(served_at, count, *shares)


def _largest(weights: Mapping[str, float], total: float) -> dict[str, float]:
    ordered = sorted(weights.items(), key=lambda entry: (-entry[1], entry[0]))[:MOST_SHARES]
    return {name: weight / total for name, weight in ordered if total > 0}
