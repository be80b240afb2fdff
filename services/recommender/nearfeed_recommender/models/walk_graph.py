"""The graph that random walks go over, by the ids of posts and readers. Importing it takes a second."""

import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import numpy as np

from nearfeed_contracts.vector_store import Hit
from nearfeed_core.pixie.building import Stored
from nearfeed_core.pixie.ids import Registry, hashes_of, name_of
from nearfeed_core.pixie.live import LiveGraph
from nearfeed_core.pixie.requests import Rule, best_of, walk_from

COMPACTED_AT = 200_000


class WalkGraph:
    """A run's graph, and the edges that came since. Safe for use by several threads.

    `data_last` is the time of the newest reading of the run. A request's walks share `threads`.
    """

    def __init__(
        self,
        stored: Stored,
        *,
        data_last: datetime | None = None,
        threads: int = 2,
        compacted_at: int = COMPACTED_AT,
    ) -> None:
        self.data_last = data_last
        self._names, self._later_names = stored.names, list[str]()
        self._posts, self._readers = Registry(stored.posts), Registry(stored.readers)
        self._live = LiveGraph(stored.forth, stored.back)
        self._threads, self._compacted_at = threads, compacted_at
        self._pool = ThreadPoolExecutor(max(1, threads - 1), "walk")
        self._adding = threading.Lock()

    def recommend(
        self,
        readings: Sequence[tuple[str, float]],
        *,
        limit: int,
        steps: int = 100_000,
        restart: float = 0.5,
        enough_posts: int | None = None,
        enough_visits: int = 4,
        exclude: Collection[str] = (),
        seed: int = 0,
    ) -> Iterator[Hit]:
        """What walks from readings (item id, weight of 0 and more) visit most, best first, `limit` at most.

        Neither what is read nor what is in `exclude` is among it. The score is (sum of sqrt(visits))^2 over
        the readings. The other parameters are those of `nearfeed_core.pixie.requests.Rule`. Nothing where
        no reading is in the graph.
        """
        queries, weights = self._queries(readings)
        rule = Rule(steps, restart, enough_posts, enough_visits, seed)
        visited = walk_from(self._live.graph, queries, weights, rule, self._pool, self._threads)
        left_out = self._posts.find(hashes_of([*(item_id for item_id, _ in readings), *exclude]))
        posts, scores = best_of(visited, np.unique(left_out[left_out >= 0]).astype(np.uint32), limit)
        return (
            Hit(self._name(post), score) for post, score in zip(posts.tolist(), scores.tolist(), strict=True)
        )

    def add(self, edges: Sequence[tuple[str, str]]) -> int:
        """Adds edges (reader id, item id), whose ends may be new; returns how many there were not yet."""
        if not edges:
            return 0
        with self._adding:
            readers, _ = self._readers.number(hashes_of(reader for reader, _ in edges))
            posts, new = self._posts.number(hashes_of(item_id for _, item_id in edges))
            self._later_names += [edges[row][1] for row in new]
        return self._live.add(posts.astype(np.uint32), readers.astype(np.uint32))

    def compact_if_due(self) -> bool:
        """Merges added edges into the graph's arrays once they are many, while requests go on."""
        if self._live.late_edges < self._compacted_at:
            return False
        self._live.compact()
        return True

    def close(self) -> None:
        """Ends its threads."""
        self._pool.shutdown()

    def _queries(self, readings: Sequence[tuple[str, float]]) -> tuple[list[int], np.ndarray]:
        weights: dict[int, float] = {}
        numbers = self._posts.find(hashes_of(item_id for item_id, _ in readings)).tolist()
        for number, (_, weight) in zip(numbers, readings, strict=True):
            if number >= 0:
                weights[number] = weights.get(number, 0.0) + weight
        return list(weights), np.array(list(weights.values()), np.float64)

    def _name(self, post: int) -> str:
        known = len(self._names.starts) - 1
        return name_of(self._names, post) if post < known else self._later_names[post - known]
