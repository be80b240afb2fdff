"""The neural rankers: Wide & Deep and DeepFM of torch-rechub, FM and FFM of its layers.

All take `dense` (n, d) and `categories` (n, 4) and give (n) scores between 0 and 1.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.basic.initializers import RandomNormal
from torch_rechub.basic.layers import FM, LR
from torch_rechub.models.ranking import DeepFM, WideDeep

from nearfeed_core.ranking_features import CATEGORIES, FeatureSpec

DIM = 8
FIELD_DIM = 4
_MLP = {"dims": [64, 32], "dropout": 0.2, "activation": "relu"}


def wide_and_deep(spec: FeatureSpec) -> nn.Module:
    """Wide & Deep (Cheng et al., DLRS 2016); the wide part has every feature, a weight for each value."""
    dense = DenseFeature("dense", len(spec.dense))
    wide = [dense, *_sparse(spec, "wide_", 1)]
    deep = [dense, *_sparse(spec, "", DIM)]
    return ByName(WideDeep(wide, deep, dict(_MLP)))


def deep_fm(spec: FeatureSpec) -> nn.Module:
    """DeepFM (Guo et al., IJCAI 2017); factors of the categories, and a network over all features."""
    sparse = _sparse(spec, "", DIM)
    return ByName(DeepFM([DenseFeature("dense", len(spec.dense)), *sparse], sparse, dict(_MLP)))


class ByName(nn.Module):
    """Gives a model of torch-rechub, which takes features by name, two tensors as its input."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, dense: Tensor, categories: Tensor) -> Tensor:
        columns = dict(zip(CATEGORIES, categories.unbind(1), strict=True))
        wide = {f"wide_{name}": column for name, column in columns.items()}
        scores: Tensor = self.network({"dense": dense, **columns, **wide})
        return scores


class FactorisationMachine(nn.Module):
    """FM (Rendle, ICDM 2010): the value of every feature times its factors, and all pairs of these."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.linear = Linear(spec)
        self.fields = Fields(spec, DIM)
        self.pairs = FM(reduce_sum=True)

    def forward(self, dense: Tensor, categories: Tensor) -> Tensor:
        crossed: Tensor = self.pairs(self.fields(dense, categories))
        return torch.sigmoid(self.linear(dense, categories) + crossed.squeeze(1))


class FieldAwareFactorisationMachine(nn.Module):
    """FFM (Juan et al., RecSys 2016): a feature has other factors for each field that it is paired with.

    All pairs are multiplied at once, where the layer of torch-rechub goes from one to the next: its graph
    would have thousands of nodes in ONNX.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.linear = Linear(spec)
        self.number = len(spec.dense) + len(CATEGORIES)
        self.fields = Fields(spec, self.number * FIELD_DIM)

    def forward(self, dense: Tensor, categories: Tensor) -> Tensor:
        factors = self.fields(dense, categories).unflatten(2, (self.number, FIELD_DIM))
        crossed = (factors * factors.transpose(1, 2)).sum(3)
        pairs = (crossed.sum((1, 2)) - crossed.diagonal(dim1=1, dim2=2).sum(1)) / 2
        return torch.sigmoid(self.linear(dense, categories) + pairs)


class Fields(nn.Module):
    """(n, features, dim): what is learned of each feature, times its value where it is dense."""

    def __init__(self, spec: FeatureSpec, dim: int) -> None:
        super().__init__()
        initial = RandomNormal(0, 0.01)
        self.dense = nn.Parameter(0.01 * torch.randn(len(spec.dense), dim))
        self.categories = nn.ModuleList(initial(size, dim) for size in spec.category_sizes)

    def forward(self, dense: Tensor, categories: Tensor) -> Tensor:
        embedded = [
            table(column) for table, column in zip(self.categories, categories.unbind(1), strict=True)
        ]
        return torch.cat([dense.unsqueeze(2) * self.dense, torch.stack(embedded, 1)], 1)


class Linear(nn.Module):
    """(n): a weight for each dense feature and for each value of a category."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        initial = RandomNormal(0, 0.01)
        self.dense = LR(len(spec.dense))
        self.categories = nn.ModuleList(initial(size, 1) for size in spec.category_sizes)

    def forward(self, dense: Tensor, categories: Tensor) -> Tensor:
        total: Tensor = self.dense(dense).squeeze(1)
        for table, column in zip(self.categories, categories.unbind(1), strict=True):
            total = total + table(column).squeeze(1)
        return total


NETWORKS: dict[str, Callable[[FeatureSpec], nn.Module]] = {
    "fm": FactorisationMachine,
    "ffm": FieldAwareFactorisationMachine,
    "wide-deep": wide_and_deep,
    "deepfm": deep_fm,
}


def _sparse(spec: FeatureSpec, prefix: str, dim: int) -> list[SparseFeature]:
    initial = RandomNormal(0, 0.01)
    return [
        SparseFeature(f"{prefix}{name}", size, dim, initializer=initial)
        for name, size in zip(CATEGORIES, spec.category_sizes, strict=True)
    ]
