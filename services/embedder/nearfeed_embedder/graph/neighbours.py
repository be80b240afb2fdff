"""The importance neighbours of posts as a sparse matrix, and pooling over it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


@dataclass(frozen=True)
class Neighbours:
    """A sparse (n, n) matrix by rows, and its transpose; the weights of a row sum to 1 (or there are none).

    `to` and `weight` hold the entries row after row, `start` (n) where each row begins.
    """

    to: Tensor
    weight: Tensor
    start: Tensor
    transposed_to: Tensor
    transposed_weight: Tensor
    transposed_start: Tensor

    def on(self, device: torch.device) -> "Neighbours":
        return Neighbours(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def neighbours_of(n: int, post: Tensor, other: Tensor, weight: Tensor) -> Neighbours:
    """From the entries (post, other, weight), sorted by post."""
    order = torch.argsort(other, stable=True)
    rows = torch.arange(n)
    return Neighbours(
        to=other,
        weight=weight,
        start=torch.searchsorted(post, rows),
        transposed_to=post[order],
        transposed_weight=weight[order],
        transposed_start=torch.searchsorted(other[order], rows),
    )


class _Pool(torch.autograd.Function):
    """Reads the transpose on the way back, which is many times faster than scattering."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, neighbours: Neighbours) -> Tensor:
        ctx.neighbours = neighbours
        return _sum_rows(hidden, neighbours.to, neighbours.start, neighbours.weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        back: Neighbours = ctx.neighbours
        gradient = gradients[0].contiguous()
        return _sum_rows(gradient, back.transposed_to, back.transposed_start, back.transposed_weight), None


def pool_neighbours(hidden: Tensor, neighbours: Neighbours) -> Tensor:
    """Importance pooling (section 3.3): weighted averages (n, dim) of the neighbours' rows of `hidden`."""
    return _Pool.apply(hidden, neighbours)  # type: ignore[no-any-return]


def _sum_rows(hidden: Tensor, to: Tensor, start: Tensor, weight: Tensor) -> Tensor:
    return embedding_bag(to, hidden, start, per_sample_weights=weight.to(hidden.dtype), mode="sum")
