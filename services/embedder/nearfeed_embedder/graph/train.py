"""Training PinSage for what is served: a reader is the weighted average of the posts they read."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from nearfeed_embedder.dataset import Readings
from nearfeed_embedder.graph.features import Features
from nearfeed_embedder.graph.folds import Fold, draw_examples, reader_folds
from nearfeed_embedder.graph.group import add_gradients, counters_of, own_share
from nearfeed_embedder.graph.pinsage import PinSage, Readership, Shape
from nearfeed_embedder.graph.spectrum import spectral_ids
from nearfeed_embedder.graph.walks import WalkRule, importance_neighbours
from nearfeed_embedder.stages import Stage
from nearfeed_runtime.operations import Progress

Vectors = NDArray[np.float32]
Validate = Callable[[Vectors], float]
_POSTS_AT_ONCE = 8_192


@dataclass(frozen=True)
class TrainRule:
    """How PinSage is trained; `epochs` are passes over the readers, at most.

    A step takes readers of one fold, `readers_at_once` at most. In each pass a reader is split into what
    describes them and what they are to find: once, or where readers are few, up to `draws` times. Posts
    are treated as new in `unread_share` of the cases, so that new posts get useful vectors. What is
    learned of single posts has a root mean square of about `id_scale` at first.
    """

    epochs: int = 18
    folds: int = 8
    draws: int = 4
    readers_at_once: int = 768
    kept_share: tuple[float, float] = (0.2, 0.8)
    target_power: float = 3.0
    recency: float = 1.5
    unread_share: float = 0.15
    id_scale: float = 0.3
    learning_rate: float = 2e-3
    id_learning_rate: float = 1e-2
    weight_decay: float = 0.1
    warmup: float = 0.05
    averaging: float = 0.95
    scale: float = 30.0
    patience: int = 8
    walks: WalkRule = field(default_factory=WalkRule)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Trained:
    """`vectors` (n, dim) of all posts, the network that gives them to new ones, and the epochs it took.

    `as_new` (n, dim) are those of the same posts if nobody had read them.
    """

    vectors: Vectors
    as_new: Vectors
    network: PinSage
    epochs: int


class Model(nn.Module):
    """The network with what is learned of single posts (n, hidden) and of the softmax."""

    def __init__(self, shape: Shape, ids: Tensor, scale: float) -> None:
        super().__init__()
        self.network = PinSage(shape)
        self.ids = nn.Parameter(ids)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, posts: Features, readership: Readership) -> Tensor:
        vectors: Tensor = self.network(posts, self.ids, readership)
        return vectors


def fitted(shape: Shape, rule: TrainRule, features: Features) -> tuple[Shape, TrainRule]:
    """For posts that only their readers tell apart: these are not treated as new, for all would be one."""
    if not features.alike:
        return shape, rule
    return replace(shape, id_dropout=0.0), replace(rule, unread_share=0.0, id_scale=1.0)


def train(
    features: Features,
    readings: Readings,
    half_life_days: float,
    shape: Shape,
    rule: TrainRule,
    *,
    seed: int,
    device: torch.device,
    stage: str = "Training",
    stop_after: int | None = None,
    validate: Validate | None = None,
) -> Stage[Trained]:
    """Trains on readings of posts; posts without any get their vectors as new ones do.

    The loss is a softmax over posts of inner products with the reader's vector, against what the
    reader has read besides. Ends after `stop_after` epochs; with `validate`, when its value has not
    risen for a while, and returns the best. Some reader must have read two posts.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    read = np.unique(readings.item)
    posts = features.take(torch.from_numpy(read)).to(device)
    readings = replace(readings, item=np.searchsorted(read, readings.item))
    n = len(read)

    folds = []
    for fold in reader_folds(readings, n, rule.folds, rule.walks, rng, rule.recency):
        folds.append(fold)
        yield Progress(f"{stage}: walks", len(folds), rule.folds + 1)
    known = Readership(
        counters_of(readings, n).to(device),
        importance_neighbours(readings, n, rule.walks, seed).on(device),
        torch.zeros(n, dtype=torch.bool, device=device),
    )
    yield Progress(f"{stage}: walks", rule.folds + 1, rule.folds + 1)

    model = Model(shape, rule.id_scale * spectral_ids(readings, n, shape.hidden), rule.scale).to(device)
    average = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(
        [
            {"params": [model.ids], "lr": rule.id_learning_rate},
            {"params": [*model.network.parameters(), model.log_scale], "lr": rule.learning_rate},
        ],
        weight_decay=rule.weight_decay,
    )
    steps = rule.epochs * sum(1 for _ in _batches(folds, rule, rng))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate(step / steps, rule))
    best, best_value, best_epoch = average, -math.inf, 0
    for epoch in range(1, (stop_after or rule.epochs) + 1):
        model.train()
        for fold, drawn in _batches(folds, rule, rng):
            loss = _loss(model, posts, fold, drawn, readings, half_life_days, rule, rng, device)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            add_gradients(model)
            optimizer.step()
            schedule.step()
            _move_average(
                average, model, min(rule.averaging, schedule.last_epoch / (schedule.last_epoch + 9))
            )
        yield Progress(stage, epoch, stop_after or rule.epochs)
        if validate:
            value = validate(_vectors(average, features, read, posts, known))
            if value > best_value:
                best, best_value, best_epoch = copy.deepcopy(average), value, epoch
            elif epoch - best_epoch >= rule.patience:
                break
    yield Progress(stage, epoch, epoch)
    vectors = _vectors(best, features, read, posts, known)
    as_new = _as_new(best.network.eval(), features, device)
    return Trained(vectors, as_new, best.network, best_epoch or epoch)


def _batches(
    folds: Sequence[Fold], rule: TrainRule, rng: np.random.Generator
) -> Iterator[tuple[Fold, NDArray[np.intp]]]:
    """All readers once, by their numbers in their folds."""
    batches = []
    for fold in folds:
        order = rng.permutation(len(fold.readers))
        batches += [
            (fold, part)
            for part in np.split(order, range(rule.readers_at_once, len(order), rule.readers_at_once))
        ]
    for index in rng.permutation(len(batches)):
        yield batches[index]


def _loss(
    model: Model,
    posts: Features,
    fold: Fold,
    readers: NDArray[np.intp],
    readings: Readings,
    half_life_days: float,
    rule: TrainRule,
    rng: np.random.Generator,
    device: torch.device,
) -> Tensor:
    """This process's part of the loss of a batch: the sum over all processes is the loss."""
    n = len(posts)
    drawn = readers.repeat(max(1, min(rule.draws, rule.readers_at_once // len(readers))))
    examples = draw_examples(
        readings,
        n,
        [fold.readers[index] for index in drawn],
        half_life_days,
        rng,
        kept_share=rule.kept_share,
        target_power=rule.target_power,
        share=own_share(),
    )
    history, target = examples.history.to(device), examples.target.to(device)
    importance = torch.from_numpy(fold.importance[drawn]).float().to(device)
    unread = (fold.counters[:, 0] == 0) | (torch.rand(n) < rule.unread_share)
    vectors = model(
        posts, Readership(fold.counters.to(device), fold.neighbours.on(device), unread.to(device))
    )
    logits = (model.log_scale.exp() * (history @ vectors) @ vectors.T).masked_fill(history > 0, -1e9)
    losses = -(target * log_softmax(logits, dim=1)).sum(1)
    return (losses * importance[own_share()]).sum() / importance.sum()


def _learning_rate(done: float, rule: TrainRule) -> float:
    return min(1.0, done / rule.warmup + 1e-3) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


@torch.no_grad()
def _move_average(average: Model, model: Model, share: float) -> None:
    for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, 1 - share)


@torch.inference_mode()
def _vectors(
    model: Model, features: Features, read: NDArray[np.intp], posts: Features, known: Readership
) -> Vectors:
    """(n, dim) of all posts: those that were read by their readership, the others as new."""
    model.eval()
    vectors = _as_new(model.network, features, posts.text.device)
    vectors[read] = model(posts, known).cpu().numpy()
    return vectors


@torch.inference_mode()
def _as_new(network: PinSage, features: Features, device: torch.device) -> Vectors:
    """(n, dim) of all posts as if nobody had read them."""
    parts = torch.split(torch.arange(len(features)), _POSTS_AT_ONCE)
    return np.concatenate([network(features.take(part).to(device)).cpu().numpy() for part in parts])
