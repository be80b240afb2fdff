"""Random walks with restart between two kinds of nodes, and what they visit most.

The loops are compiled by numba; it takes about a second to import, more where its cache is empty. Each
start has random numbers of its own, so a seed gives one result, however many threads share the work.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfeed_core.splitmix import STEP, compiled, mixed

Nodes = NDArray[np.int64]
_32, _11 = np.uint64(32), np.uint64(11)
_LOW = np.uint64(0xFFFFFFFF)
_ALWAYS = np.uint32(0xFFFFFFFF)
_UNIT = 2.0**-53
_ALL = 2**32 - 1
_GRAPH = "int64[::1], uint32[:, ::1], int64[::1], uint32[:, ::1]"


@dataclass(frozen=True)
class Transitions:
    """Where a walk goes on from each node: an alias table (Walker 1977) of a slot per edge.

    The slots of a node are those from `start[node]` to `start[node + 1]`, (nodes + 1) int64; one of them is
    drawn evenly. A slot (edges, 3) uint32 is a threshold and two nodes: the walk goes to the first with
    probability threshold / 2^32, else to the second.
    """

    start: Nodes
    slots: NDArray[np.uint32]


def transitions(start: Nodes, to: Nodes, weight: NDArray[np.float64]) -> Transitions:
    """From the rows of a sparse matrix: node's edges lie from `start[node]` on, with finite weights ≥ 0.

    An edge of weight 0 is never taken, and a walk ends where there is no other.
    """
    taken = weight > 0
    start = np.concatenate([[0], np.cumsum(taken)])[start].astype(np.int64)
    slots = np.empty((int(taken.sum()), 3), np.uint32)
    slots[:, 1] = to[taken]
    _fill_slots(start, weight[taken].astype(np.float64), slots)
    return Transitions(start, slots)


def most_visited(
    forth: Transitions,
    back: Transitions,
    starts: Nodes,
    *,
    walks: int,
    hops: int,
    restart: float,
    kept: int,
    seed: int,
    threads: int = 1,
) -> tuple[Nodes, Nodes]:
    """The nodes (starts, kept) that `walks` from each start visit most, and how often (starts, kept).

    A hop is a step forth and a step back, so that it ends on the starts' side; before each hop but the
    first a walk ends with probability `restart`. The start itself does not count. The most visited come
    first, at equal visits by number; where fewer were visited, the rest has 0 visits.
    """
    best = np.zeros((len(starts), kept), np.int64)
    graph = (forth.start, forth.slots, back.start, back.slots)

    def visit(rows: slice) -> None:
        _visit(*graph, starts[rows], walks, hops, restart, np.uint64(seed), best[rows])

    ends = np.linspace(0, len(starts), threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(visit, map(slice, ends[:-1], ends[1:])))
    visits = best >> 32
    return np.where(visits > 0, _ALL - (best & _ALL), 0), visits


@compiled("void(int64[::1], float64[::1], uint32[:, ::1])")
def _fill_slots(start: Any, left: Any, slots: Any) -> None:
    """Fills the slot of each edge below its node's mean weight up by an edge above it (Vose 1991).

    `left` (edges) is what each edge's own slot holds of it; what it gives to others is taken from it.
    """
    order = np.empty(len(left), np.int64)
    for node in range(len(start) - 1):
        first, end = start[node], start[node + 1]
        mean = left[first:end].sum() / max(1, end - first)
        light, heavy = first, end
        for slot in range(first, end):
            slots[slot, 0], slots[slot, 2] = _ALWAYS, slots[slot, 1]
            if left[slot] < mean:
                order[light] = slot
                light += 1
            else:
                heavy -= 1
                order[heavy] = slot
        at = first
        while at < light < end:
            slot, giver = order[at], order[light]
            slots[slot, 0] = np.uint32(left[slot] / mean * _ALWAYS)
            slots[slot, 2] = slots[giver, 1]
            left[giver] -= mean - left[slot]
            at += 1
            light += left[giver] < mean


@compiled("int64(int64[::1], uint32[:, ::1], int64, uint64)")
def _next(start: Any, slots: Any, node: Any, random: Any) -> Any:
    """Where a random number leads from a node; -1 where there is no way."""
    degree = start[node + 1] - start[node]
    if degree == 0:
        return -1
    slot = start[node] + np.int64(((random >> _32) * np.uint64(degree)) >> _32)
    return np.int64(slots[slot, 1] if (random & _LOW) < slots[slot, 0] else slots[slot, 2])


@compiled("void(int64, int64[::1])")
def _insert(key: Any, best: Any) -> None:
    """Into keys in falling order, of which the smallest falls out."""
    if key <= best[-1]:
        return
    place = len(best) - 1
    while place > 0 and key > best[place - 1]:
        best[place] = best[place - 1]
        place -= 1
    best[place] = key


@compiled(f"int64({_GRAPH}, int64, int64, int64, float64, uint64, int64[::1])")
def _walk(
    forth: Any,
    forth_slots: Any,
    back: Any,
    back_slots: Any,
    start: Any,
    walks: Any,
    hops: Any,
    restart: Any,
    state: Any,
    trace: Any,
) -> Any:
    """Puts what all walks from one start visit into `trace` (walks * hops); returns how much that is."""
    seen = 0
    for _ in range(walks):
        node = start
        for hop in range(hops):
            state += STEP
            if hop > 0 and (mixed(state) >> _11) * _UNIT < restart:
                break
            state += STEP
            between = _next(forth, forth_slots, node, mixed(state))
            if between < 0:
                break
            state += STEP
            node = _next(back, back_slots, between, mixed(state))
            if node < 0:
                break
            trace[seen] = node
            seen += 1
    return seen


@compiled(f"void({_GRAPH}, int64[::1], int64, int64, float64, uint64, int64[:, ::1])")
def _visit(
    forth: Any,
    forth_slots: Any,
    back: Any,
    back_slots: Any,
    starts: Any,
    walks: Any,
    hops: Any,
    restart: Any,
    seed: Any,
    best: Any,
) -> None:
    """Walks from each start, and puts visits and node, as one number, into its row of `best`."""
    visits = np.zeros(len(forth) - 1, np.int64)
    trace = np.empty(walks * hops, np.int64)
    for row, start in enumerate(starts):
        state = mixed(mixed(seed) + np.uint64(start))
        seen = _walk(forth, forth_slots, back, back_slots, start, walks, hops, restart, state, trace)
        for node in trace[:seen]:
            visits[node] += 1
        visits[start] = 0
        for node in trace[:seen]:
            if visits[node] > 0:
                _insert((visits[node] << 32) + _ALL - node, best[row])
                visits[node] = 0
