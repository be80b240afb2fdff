"""SimCSE (Gao, Yao and Chen, EMNLP 2021): unsupervised in section 3, supervised by pairs in section 4."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from nearfeed_embedder.settings import Objective
from nearfeed_embedder.stages import Stage
from nearfeed_embedder.text.model import TextModel, embed
from nearfeed_runtime.operations import Progress

Pair = tuple[str, str]


def pairs_of(texts: Sequence[str], objective: Objective) -> list[Pair]:
    """One pair of each distinct text, in order: with itself, or its title with its body.

    The title is the first line, the body what follows. A text that has one of them alone is paired
    with itself, as all are where the objective is unsupervised.
    """
    distinct = sorted(set(texts))
    if objective == "unsupervised":
        return [(text, text) for text in distinct]
    return [title_and_body(text) for text in distinct]


def title_and_body(text: str) -> Pair:
    """The first line and the rest, or the text twice where either is blank."""
    title, _, body = (part.strip() for part in text.partition("\n"))
    return (title, body) if title and body else (text, text)


Lengths = NDArray[np.int64]
TEMPERATURE = 0.05
LEARNING_RATE = 1e-5
TUNED_SHARE = 0.5


def fine_tune(
    model: TextModel,
    pairs: Sequence[Pair],
    *,
    epochs: int,
    batch: int,
    seed: int,
    samples: int | None = None,
    learning_rate: float = LEARNING_RATE,
    share: float = TUNED_SHARE,
) -> Stage[list[float]]:
    """Fine-tunes `model` in place and returns the loss of each step.

    A pass reads each pair, or `samples` of them, the same in every pass. The two of a pair are brought
    together, each under a dropout mask of its own, so that a text may be paired with itself; the second
    texts of the other pairs of the batch are the first one's negatives. The weights end `share` of the
    way from those of before to those that were learned, by which less of what the model knew is lost
    (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022).
    """
    before = [weight.detach().clone() for weight in model.network.parameters()]
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=learning_rate)
    chosen = [pairs[row] for row in rng.permutation(len(pairs))[:samples]]
    lengths = np.array([len(first) + len(second) for first, second in chosen])
    losses: list[float] = []
    steps = epochs * len(similar_lengths(lengths, batch, rng))
    model.network.train()
    for _ in range(epochs):
        for rows in similar_lengths(lengths, batch, rng):
            loss = loss_of(model, [chosen[row] for row in rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
            yield Progress("Fine-tuning text", len(losses), steps)
    optimizer.zero_grad()
    with torch.no_grad():
        for weight, known in zip(model.network.parameters(), before, strict=True):
            weight.copy_(torch.lerp(known, weight, share))
    model.network.eval()
    return losses


def loss_of(model: TextModel, pairs: Sequence[Pair]) -> Tensor:
    """The contrastive loss of one batch, under the dropout of the network's mode."""
    firsts, seconds = zip(*pairs, strict=True)
    return contrastive_loss(embed(model, [*firsts, *seconds]), alike(pairs).to(model.device))


def contrastive_loss(vectors: Tensor, alike: Tensor) -> Tensor:
    """Of unit vectors (2n, dim), the first and then the second of n pairs (equations 4 and 5).

    Pairs that are `alike` (n, n) are no negatives of each other.
    """
    first, second = vectors.chunk(2)
    similarity = (first @ second.T / TEMPERATURE).masked_fill(alike, -torch.inf)
    return cross_entropy(similarity, torch.arange(len(first), device=vectors.device))


def alike(pairs: Sequence[Pair]) -> Tensor:
    """Marks (n, n) different pairs whose texts are no negatives: pair's first text and the other's second.

    They are none where the pairs share a text, such as a common title.
    """
    marks = [[one is not other and bool({*one} & {*other}) for other in pairs] for one in pairs]
    return torch.tensor(marks)


def similar_lengths(lengths: Lengths, batch: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows in batches of about one length, mixed anew at each call, in random order.

    A last batch of one row is left out, for it has no negatives.
    """
    order = np.argsort(lengths * rng.uniform(0.8, 1.25, len(lengths)))
    batches = [order[start : start + batch] for start in range(0, len(order), batch)]
    return [batches[index] for index in rng.permutation(len(batches)) if len(batches[index]) > 1]
