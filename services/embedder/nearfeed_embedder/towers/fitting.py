"""Fits a tower by the softmax over all posts, or over those that are drawn for a batch."""

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nearfeed_embedder.dataset import Dataset
from nearfeed_embedder.stages import Stage
from nearfeed_embedder.towers.moments import Batch, batches, moments_of, of_each_reader
from nearfeed_embedder.towers.youtube import TowerRule, TwoRoles
from nearfeed_runtime.operations import Progress

Validate = Callable[[TwoRoles], float]


def fit_tower(
    dataset: Dataset,
    rule: TowerRule,
    *,
    seed: int,
    stage: str,
    epochs: int | None = None,
    validate: Validate | None = None,
) -> Stage[tuple[TwoRoles, int]]:
    """The network and the epochs it has had: the best by `validate`, or `epochs` of them."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    readings = dataset.readings
    readers_of = np.bincount(readings.item, minlength=len(dataset.posts))
    model = TwoRoles(torch.from_numpy(readers_of), rule)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rule.learning_rate, weight_decay=rule.decay)
    moments = moments_of(readings)
    chance = readers_of / len(readings)
    most = epochs or rule.epochs
    best, kept_epoch, kept = -math.inf, 0, model.state_dict()
    for epoch in range(1, most + 1):
        yield Progress(stage, epoch - 1, most)
        model.train()
        chosen = of_each_reader(moments, readings, rule.each, rng)
        for batch in batches(chosen, readings, dataset.half_life_days, rule.batch, rng):
            loss = _loss(model, batch, chance, rule, rng)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        found = float(epoch) if validate is None else validate(model.eval())
        if found > best:
            best, kept_epoch, kept = found, epoch, copy.deepcopy(model.state_dict())
        if epoch - kept_epoch == rule.patience:
            break
    yield Progress(stage, most, most)
    model.load_state_dict(kept)
    return model.eval(), kept_epoch


def _loss(
    model: TwoRoles, batch: Batch, chance: NDArray[np.float64], rule: TowerRule, rng: np.random.Generator
) -> Tensor:
    queries = model.queries(batch)
    if len(chance) <= rule.negatives:
        return functional.cross_entropy(queries @ model.vectors.weight.T, batch.target)
    return sampled_softmax(model, queries, batch.target, chance, rule.negatives, rng)


def sampled_softmax(
    model: TwoRoles,
    queries: Tensor,
    target: Tensor,
    chance: NDArray[np.float64],
    negatives: int,
    rng: np.random.Generator,
) -> Tensor:
    """Over the target and drawn posts, which count by the inverse of how often they are to be drawn.

    So the sum estimates that over all posts without bias; after Bengio and Senécal, AISTATS 2003. The
    target counts once, also where it is drawn.
    """
    drawn = torch.from_numpy(rng.choice(len(chance), negatives, p=chance))
    log_expected = torch.from_numpy(np.log(np.maximum(chance, 1e-12) * negatives).astype(np.float32))
    others = queries @ model.vectors(drawn).T - log_expected[drawn]
    others = others.masked_fill(target[:, None] == drawn[None, :], -math.inf)
    own = (queries * model.vectors(target)).sum(1, keepdim=True)
    first = torch.zeros(len(target), dtype=torch.long)
    return functional.cross_entropy(torch.cat([own, others], 1), first)
