"""Fits neural rankers by the log loss of what was read, and writes them as ONNX."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nearfeed_core.ranking_features import CATEGORIES, Features
from nearfeed_embedder.evaluation.ranking import NDCG
from nearfeed_embedder.onnx_files import onnx_bytes
from nearfeed_embedder.rankers.examples import Fitted, Table, Task
from nearfeed_embedder.rankers.measures import measured
from nearfeed_embedder.rankers.networks import NETWORKS
from nearfeed_embedder.stages import Stage
from nearfeed_runtime.operations import Progress

MOST_EPOCHS = 20
PATIENCE = 3
BATCH = 2_048
LEARNING_RATE = 2e-3
DECAY = 1e-5
_AT_ONCE = 65_536


def fit_network(name: str, task: Task) -> Stage[Fitted]:
    """Epochs until the NDCG of `valid` has not grown for three of them, 20 at most; the best is kept."""
    torch.manual_seed(task.seed)
    network = NETWORKS[name](task.spec)
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)
    most = task.rounds or MOST_EPOCHS
    inputs, read = _tensors(task.train.features), torch.from_numpy(task.train.read)
    rng = np.random.default_rng(task.seed)
    best, rounds, kept = -np.inf, 0, network.state_dict()
    for epoch in range(1, most + 1):
        yield Progress(f"Training {name}", epoch - 1, most)
        _train_epoch(network, optimiser, inputs, read, rng)
        found = float(epoch) if task.valid is None else _ndcg(network, task.valid)
        if found > best:
            best, rounds, kept = found, epoch, copy.deepcopy(network.state_dict())
        if epoch - rounds == PATIENCE:
            break
    yield Progress(f"Training {name}", most, most)
    network.load_state_dict(kept)
    network.eval()
    return Fitted(
        lambda features: score(network, features),
        rounds,
        "onnx",
        lambda: write(network, len(task.spec.dense)),
    )


def score(network: nn.Module, features: Features) -> NDArray[np.float32]:
    """(n), in parts, so that memory stays bounded."""
    network.eval()
    dense, categories = _tensors(features)
    parts = [slice(start, start + _AT_ONCE) for start in range(0, len(features), _AT_ONCE)]
    with torch.no_grad():
        return np.concatenate([network(dense[part], categories[part]).numpy() for part in parts])


def write(network: nn.Module, dense: int) -> bytes:
    """ONNX with the inputs `dense` (n, d) and `categories` (n, 4) and the output `scores` (n)."""
    example = (torch.zeros(2, dense), torch.zeros(2, len(CATEGORIES), dtype=torch.int64))
    return onnx_bytes(network, example, inputs=("dense", "categories"), output="scores")


def _train_epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    inputs: Sequence[Tensor],
    read: Tensor,
    rng: np.random.Generator,
) -> None:
    network.train()
    order = torch.from_numpy(rng.permutation(len(read)))
    loss_of = nn.BCELoss()
    for rows in order.tensor_split(max(1, len(read) // BATCH)):
        loss = loss_of(network(*(tensor[rows] for tensor in inputs)), read[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def _ndcg(network: nn.Module, valid: Table) -> float:
    return float(measured(score(network, valid.features), valid)[NDCG].mean())


def _tensors(features: Features) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(features.dense), torch.from_numpy(features.categories)
