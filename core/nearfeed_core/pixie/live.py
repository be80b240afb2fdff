"""A graph that edges are added to while others walk on it."""

import threading
from typing import Any

import numpy as np
from numba import types

from nearfeed_core.pixie.csr import SIDE, Numbers, Side, compacted, degrees_of, late_slot, with_late
from nearfeed_core.pixie.requests import Graph
from nearfeed_core.splitmix import compiled


class LiveGraph:
    """Holds a whole graph at any time, in `graph`; whoever has taken it can go on walking on it.

    Added edges lie beside the others until `compact` merges them into new arrays. All methods may be
    called by several threads at once.
    """

    def __init__(self, forth: Side, back: Side) -> None:
        self.graph = Graph(forth, back, int(np.diff(forth.starts.astype(np.int64)).max(initial=0)))
        self._posts = self._readers = np.zeros(0, np.uint32)
        self._adding, self._compacting = threading.Lock(), threading.Lock()

    @property
    def late_edges(self) -> int:
        """How many edges wait to be compacted."""
        return len(self._posts)

    def add(self, posts: Numbers, readers: Numbers) -> int:
        """Adds edges (edges), of nodes that may be new; returns how many of them there were not yet.

        The next walk goes over them.
        """
        pairs = (posts.astype(np.uint64) << np.uint64(32)) | readers
        rows = np.sort(np.unique(pairs, return_index=True)[1])
        posts, readers = posts[rows].astype(np.uint32), readers[rows].astype(np.uint32)
        with self._adding:
            new = np.zeros(len(posts), np.bool_)
            _find_new(self.graph.back, readers, posts, new)
            if new.any():
                self._posts = np.concatenate([self._posts, posts[new]])
                self._readers = np.concatenate([self._readers, readers[new]])
                self._show(self.graph.forth, self.graph.back)
        return int(new.sum())

    def compact(self) -> None:
        """Merges the edges that were added before the call; meanwhile more can be added."""
        with self._compacting:
            with self._adding:
                graph, posts, readers = self.graph, self._posts, self._readers
            forth = compacted(graph.forth, _count(graph.forth, posts))
            back = compacted(graph.back, _count(graph.back, readers))
            with self._adding:
                self._posts, self._readers = self._posts[len(posts) :], self._readers[len(readers) :]
                self._show(forth, back)

    def _show(self, forth: Side, back: Side) -> None:
        forth = with_late(forth, self._posts, self._readers)
        back = with_late(back, self._readers, self._posts)
        most = max(self.graph.most, int(degrees_of(forth, np.unique(self._posts).tolist()).max(initial=0)))
        self.graph = Graph(forth, back, most)


def _count(before: Side, late: Numbers) -> int:
    return max(before.nodes, int(late.max(initial=0)) + 1 if len(late) else 0)


@compiled(types.void(SIDE, types.uint32[::1], types.uint32[::1], types.boolean[::1]))
def _find_new(graph: Any, nodes: Any, targets: Any, new: Any) -> None:
    """Marks the edges that the graph does not have."""
    for row in range(len(nodes)):
        node, target, known = nodes[row], targets[row], False
        if node < len(graph.starts) - 1:
            for edge in range(graph.starts[node], graph.starts[node + 1]):
                known |= graph.targets[edge] == target
        slot = late_slot(graph.keys, np.uint64(node))
        for edge in range(graph.spans[slot, 0], graph.spans[slot, 1]):
            known |= graph.late[edge] == target
        new[row] = not known
