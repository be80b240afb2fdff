"""The compiled walk of one query post.

A step waits four times for memory, so that several walkers go in lockstep: while one waits, the others
ask for theirs. Each has random numbers of its own.
"""

from typing import Any

import numpy as np
from numba import types

from nearfeed_core.pixie.csr import SIDE, slot_of
from nearfeed_core.splitmix import STEP, compiled, mixed

_ONE, _32 = np.uint64(1), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


_WALKERS = types.void(
    SIDE, types.uint64[::1], types.uint64, types.uint64[::1], types.uint64[:, ::1], types.int64
)


@compiled(_WALKERS)
def _choose_late(graph: Any, random: Any, shift: Any, at: Any, spans: Any, width: Any) -> None:
    """The second half of `_go` where there are later edges."""
    keys, late_spans, late, targets = graph.keys, graph.spans, graph.late, graph.targets
    mask = np.uint64(len(keys) - 1)
    for walker in range(width):
        key = at[walker] + _ONE
        slot = slot_of(key, mask)
        while keys[slot] != 0 and keys[slot] != key:
            slot = (slot + _ONE) & mask
        spans[walker, 2] = slot
    for walker in range(width):
        first, slot = spans[walker, 0], spans[walker, 2]
        degree = spans[walker, 1] - first
        begin, end = np.uint64(late_spans[slot, 0]), np.uint64(late_spans[slot, 1])
        chosen = (((random[walker] >> shift) & _LOW) * (degree + end - begin)) >> _32
        if chosen < degree:
            at[walker] = targets[first + chosen]
        else:
            at[walker] = late[begin + chosen - degree]


@compiled(_WALKERS)
def _go(graph: Any, random: Any, shift: Any, at: Any, spans: Any, width: Any) -> None:
    """Takes the first `width` walkers along one edge each, by 32 bits of their random numbers.

    `spans` (walkers, 3) is room for where the edges of each lie, and the slot of its later ones.
    """
    nodes = np.uint64(len(graph.starts) - 1)
    for walker in range(width):
        node = at[walker]
        if node < nodes:
            spans[walker, 0] = graph.starts[node]
            spans[walker, 1] = graph.starts[node + _ONE]
        else:
            spans[walker, 0] = 0
            spans[walker, 1] = 0
    if len(graph.late) > 0:
        _choose_late(graph, random, shift, at, spans, width)
        return
    for walker in range(width):
        first = spans[walker, 0]
        degree = spans[walker, 1] - first
        at[walker] = graph.targets[first + ((((random[walker] >> shift) & _LOW) * degree) >> _32)]


@compiled(
    types.void(
        types.uint64[::1], types.uint64[::1], types.uint64[::1], types.uint64, types.uint64, types.int64
    )
)
def _draw(state: Any, random: Any, at: Any, query: Any, restart: Any, width: Any) -> None:
    """The next random numbers of the first `width` walkers, of which some go back to the query."""
    for walker in range(width):
        if mixed(state[walker] + STEP) >> _32 < restart:
            at[walker] = query
        state[walker] += STEP + STEP
        random[walker] = mixed(state[walker])


@compiled(types.uint64(types.uint64, types.uint32[::1], types.uint32[::1]))
def place_slot(post: Any, table: Any, posts: Any) -> Any:
    """The slot of a hash table (2^n) that has 1 + the post's place in `posts`, else one that has 0."""
    mask = np.uint64(len(table) - 1)
    slot = slot_of(post, mask)
    while table[slot] != 0 and posts[table[slot] - 1] != post:
        slot = (slot + _ONE) & mask
    return slot


@compiled(types.uint32[::1](types.int64))
def place_table(most: Any) -> Any:
    """A hash table for `most` places that is at most half full."""
    size = 2
    while size < 2 * most:
        size *= 2
    return np.zeros(size, np.uint32)


@compiled(
    types.UniTuple(types.int64, 2)(  # type: ignore[no-untyped-call]
        SIDE,
        SIDE,
        types.uint64,
        types.int64,
        types.uint64,
        types.uint64,
        types.int64,
        types.int64,
        types.int64,
        types.uint32[::1],
        types.uint32[::1],
    )
)
def walk(
    forth: Any,
    back: Any,
    query: Any,
    steps: Any,
    restart: Any,
    seed: Any,
    walkers: Any,
    enough_posts: Any,
    enough_visits: Any,
    posts: Any,
    visits: Any,
) -> Any:
    """Fills in which posts were visited from a query post that has edges, and how often.

    A step goes to a reader and on to a post; before it a walker goes back to the query with probability
    restart / 2^32. Ends after `steps`, or when `enough_posts` have `enough_visits`. `posts` and
    `visits` (steps) are filled from their start, in the order of the first visits. Returns how many steps
    were taken, and how many posts visited.
    """
    table = place_table(steps)
    first = mixed(seed) + query * np.uint64(walkers)
    state = np.array([mixed(first + np.uint64(walker)) for walker in range(walkers)], np.uint64)
    at = np.full(walkers, query, np.uint64)
    random, spans = np.empty(walkers, np.uint64), np.empty((walkers, 3), np.uint64)
    taken, found, enough = 0, 0, 0
    while taken < steps and enough < enough_posts:
        width = min(walkers, steps - taken)
        _draw(state, random, at, query, restart, width)
        _go(forth, random, np.uint64(0), at, spans, width)
        _go(back, random, _32, at, spans, width)
        for walker in range(width):
            slot = place_slot(at[walker], table, posts)
            if table[slot] == 0:
                posts[found], visits[found] = at[walker], 0
                found += 1
                table[slot] = found
            visits[table[slot] - 1] += np.uint32(1)
            taken += 1
            enough += visits[table[slot] - 1] == enough_visits
            if enough >= enough_posts:
                break
    return taken, found
