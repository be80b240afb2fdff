"""Unsupervised SimCSE (Gao, Yao and Chen, EMNLP 2021, section 3)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nearfeed_embedder.stages import Stage
from nearfeed_embedder.text.model import TextModel, embed
from nearfeed_runtime.operations import Progress

TEMPERATURE = 0.05
LEARNING_RATE = 1e-5


def fine_tune(
    model: TextModel,
    texts: Sequence[str],
    *,
    epochs: int,
    batch: int,
    seed: int,
    samples: int | None = None,
    learning_rate: float = LEARNING_RATE,
) -> Stage[list[float]]:
    """Fine-tunes `model` in place and returns the loss of each step.

    A pass reads each distinct text, or `samples` of them, the same in every pass. Each text meets
    itself under another dropout mask, and the other texts of its batch as negatives.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=learning_rate)
    distinct = sorted(set(texts))
    unique = [distinct[row] for row in rng.permutation(len(distinct))[:samples]]
    losses: list[float] = []
    steps = epochs * len(similar_lengths(unique, batch, rng))
    model.network.train()
    for _ in range(epochs):
        for rows in similar_lengths(unique, batch, rng):
            loss = contrastive_loss(embed(model, [unique[row] for row in rows] * 2))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
            yield Progress("Fine-tuning text", len(losses), steps)
    model.network.eval()
    return losses


def contrastive_loss(vectors: Tensor) -> Tensor:
    """Of unit vectors (2n, dim) whose second half is the first under other dropout masks (equation 4)."""
    first, second = vectors.chunk(2)
    return cross_entropy(first @ second.T / TEMPERATURE, torch.arange(len(first), device=vectors.device))


def similar_lengths(texts: Sequence[str], batch: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of texts in batches of about one length, mixed anew at each call, in random order.

    A last batch of one text is left out, for it has no negatives.
    """
    lengths = np.array([len(text) for text in texts])
    order = np.argsort(lengths * rng.uniform(0.8, 1.25, len(texts)))
    batches = [order[start : start + batch] for start in range(0, len(order), batch)]
    return [batches[index] for index in rng.permutation(len(batches)) if len(batches[index]) > 1]
