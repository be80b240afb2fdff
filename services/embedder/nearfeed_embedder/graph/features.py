"""What PinSage knows of a post without its readers: text vector, community and tags."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfeed_embedder.dataset import Post

MOST_TAGS = 20_000


@dataclass(frozen=True)
class Vocabulary:
    """Communities and tags by their index, which counts from 1; 0 stands for unknown ones and none."""

    communities: dict[str, int]
    tags: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        return {"communities": list(self.communities), "tags": list(self.tags)}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "Vocabulary":
        return cls(_indexed(body["communities"]), _indexed(body["tags"]))


@dataclass(frozen=True)
class Features:
    """text (n, text_dim) float32, community (n) and tags (n, most tags of a post), padded by 0."""

    text: Tensor
    community: Tensor
    tags: Tensor

    def __len__(self) -> int:
        return len(self.text)

    @property
    def alike(self) -> bool:
        """Whether all posts have the same features."""
        return all(bool((part == part[:1]).all()) for part in (self.text, self.community, self.tags))

    def take(self, rows: Tensor) -> "Features":
        return Features(self.text[rows], self.community[rows], self.tags[rows])

    def to(self, device: torch.device) -> "Features":
        return Features(self.text.to(device), self.community.to(device), self.tags.to(device))


def vocabulary_of(posts: Sequence[Post]) -> Vocabulary:
    """All communities, and the tags that most posts have."""
    counts = Counter(tag for post in posts for tag in set(post.tags))
    common = sorted(counts, key=lambda tag: (-counts[tag], tag))[:MOST_TAGS]
    return Vocabulary(_indexed(sorted({post.community_id for post in posts})), _indexed(common))


def features_of(posts: Sequence[Post], text: NDArray[np.float32], vocabulary: Vocabulary) -> Features:
    communities = [vocabulary.communities.get(post.community_id, 0) for post in posts]
    known = [sorted({vocabulary.tags[tag] for tag in post.tags if tag in vocabulary.tags}) for post in posts]
    tags = np.zeros((len(posts), max((len(row) for row in known), default=0) or 1), dtype=np.int64)
    for row, indices in zip(tags, known, strict=True):
        row[: len(indices)] = indices
    return Features(torch.from_numpy(text.copy()), torch.tensor(communities), torch.from_numpy(tags))


def _indexed(names: Iterable[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(names, start=1)}
