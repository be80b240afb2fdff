"""Edges grouped by the node that they start from, and edges that came later beside them."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from nearfeed_core.splitmix import compiled

Numbers = NDArray[np.uint32]
MOST_EDGES = 2**32 - 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ONE, _32 = np.uint64(1), np.uint64(32)


class Side(NamedTuple):
    """One direction of a graph: where its edges lead from each node. All arrays are uint32, read-only.

    Node's edges lead to `targets[starts[node] : starts[node + 1]]`; `starts` (nodes + 1), `targets` (edges).
    Those that came later lead to `late[first : end]`, where `spans` (slots, 2) has first and end in the slot
    in which `keys` (slots), a hash table of 2^n slots that is at most half full, has node + 1. Nodes that
    came later have no `starts`.
    """

    starts: Numbers
    targets: Numbers
    keys: Numbers
    spans: Numbers
    late: Numbers

    @property
    def nodes(self) -> int:
        """How many nodes have `starts`."""
        return len(self.starts) - 1


_row = types.Array(types.uint32, 1, "C", readonly=True)
_rows = types.Array(types.uint32, 2, "C", readonly=True)
SIDE = types.NamedTuple((_row, _row, _row, _rows, _row), Side)  # type: ignore[no-untyped-call]


def side(starts: Numbers, targets: Numbers) -> Side:
    """Without later edges."""
    empty = np.zeros(0, np.uint32)
    return Side(*map(_sealed, (starts, targets, np.zeros(1, np.uint32), np.zeros((1, 2), np.uint32), empty)))


def grouped(nodes: Numbers, targets: Numbers, count: int) -> Side:
    """The edges (edges) from `nodes`, all below `count`, each node's in the order in which they came."""
    degrees = np.bincount(nodes, minlength=count) if len(nodes) else np.zeros(count, np.int64)
    starts = np.concatenate([[0], np.cumsum(degrees)]).astype(np.uint32)
    grouped_targets = np.empty(len(targets), np.uint32)
    _group(nodes, targets, starts[:-1].copy(), grouped_targets)
    return side(starts, grouped_targets)


def with_late(base: Side, nodes: Numbers, targets: Numbers) -> Side:
    """With these later edges in the place of any that it had."""
    if not len(nodes):
        return side(base.starts, base.targets)
    order = np.argsort(nodes, kind="stable")
    distinct, first = np.unique(nodes[order], return_index=True)
    bounds = np.append(first, len(nodes)).astype(np.uint32)
    size = 2 ** int(2 * len(distinct)).bit_length()
    keys, spans = np.zeros(size, np.uint32), np.zeros((size, 2), np.uint32)
    _fill(distinct.astype(np.uint32), bounds, keys, spans)
    late = targets[order].astype(np.uint32)
    return Side(base.starts, base.targets, *map(_sealed, (keys, spans, late)))


def compacted(before: Side, count: int) -> Side:
    """Its edges without a difference between earlier and later ones, over `count` nodes."""
    starts = np.zeros(count + 1, np.uint32)
    targets = np.empty(len(before.targets) + len(before.late), np.uint32)
    _merge(before, starts, targets)
    return side(starts, targets)


def degrees_of(graph: Side, nodes: Iterable[int]) -> NDArray[np.int64]:
    """How many edges each node has; one that there is not has 0."""
    wanted = np.fromiter(nodes, np.int64)
    degrees = np.empty(len(wanted), np.int64)
    _count(graph, wanted, degrees)
    return degrees


def _sealed(array: NDArray[Any]) -> Numbers:
    """A view that cannot be written through; a memory-mapped array as a plain one."""
    view = np.ascontiguousarray(array, np.uint32).view(np.ndarray)
    view.flags.writeable = False
    return view


@compiled("uint64(uint64, uint64)")
def slot_of(key: Any, mask: Any) -> Any:
    """Where to look for a key first in a hash table of mask + 1 slots (Knuth's multiplicative hashing)."""
    return ((key * _GOLDEN) >> _32) & mask


@compiled(types.uint64(_row, types.uint64))
def late_slot(keys: Any, node: Any) -> Any:
    """The slot of a node that has later edges, else one that is empty."""
    mask = np.uint64(len(keys) - 1)
    key = np.uint64(node + _ONE)
    slot = slot_of(key, mask)
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + _ONE) & mask
    return slot


@compiled("void(uint32[::1], uint32[::1], uint32[::1], uint32[::1])")
def _group(nodes: Any, targets: Any, place: Any, grouped_targets: Any) -> None:
    for edge in range(len(nodes)):
        node = nodes[edge]
        grouped_targets[place[node]] = targets[edge]
        place[node] += np.uint32(1)


@compiled("void(uint32[::1], uint32[::1], uint32[::1], uint32[:, ::1])")
def _fill(nodes: Any, bounds: Any, keys: Any, spans: Any) -> None:
    mask = np.uint64(len(keys) - 1)
    for row in range(len(nodes)):
        key = np.uint64(nodes[row]) + _ONE
        slot = slot_of(key, mask)
        while keys[slot] != 0:
            slot = (slot + _ONE) & mask
        keys[slot] = key
        spans[slot, 0], spans[slot, 1] = bounds[row], bounds[row + 1]


@compiled(types.void(SIDE, types.uint32[::1], types.uint32[::1]))
def _merge(graph: Any, starts: Any, targets: Any) -> None:
    at = 0
    for node in range(len(starts) - 1):
        if node < len(graph.starts) - 1:
            for edge in range(graph.starts[node], graph.starts[node + 1]):
                targets[at] = graph.targets[edge]
                at += 1
        slot = late_slot(graph.keys, np.uint64(node))
        for edge in range(graph.spans[slot, 0], graph.spans[slot, 1]):
            targets[at] = graph.late[edge]
            at += 1
        starts[node + 1] = at


@compiled(types.void(SIDE, types.int64[::1], types.int64[::1]))
def _count(graph: Any, nodes: Any, degrees: Any) -> None:
    for row in range(len(nodes)):
        node, degree = nodes[row], np.int64(0)
        if 0 <= node < len(graph.starts) - 1:
            degree += np.int64(graph.starts[node + 1]) - np.int64(graph.starts[node])
        if node >= 0:
            slot = late_slot(graph.keys, np.uint64(node))
            degree += np.int64(graph.spans[slot, 1]) - np.int64(graph.spans[slot, 0])
        degrees[row] = degree
