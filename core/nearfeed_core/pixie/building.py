"""A graph and its ids, made of who read what."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.errors import NearfeedError
from nearfeed_core.pixie.csr import MOST_EDGES, Numbers, Side, grouped
from nearfeed_core.pixie.ids import Hashes, Index, Names, hashes_of, index_of, names_of


class TooManyEdgesError(NearfeedError):
    """More edges than numbers of 32 bits can count."""


class Stored(NamedTuple):
    """All that a graph's files hold: both directions, and the ids. Of readers there are only hashes."""

    forth: Side
    back: Side
    posts: Index
    readers: Index
    names: Names


def build(posts: Numbers, readers: Numbers, post_ids: Sequence[str], reader_hashes: Hashes) -> Stored:
    """Of distinct edges (edges) between posts and readers, which are numbered as their ids and hashes are.

    The graph numbers nodes anew, those of most edges first, so that what is often read lies close together;
    nodes without an edge are left out. Raises TooManyEdgesError, and ValueError where ids are not distinct.
    """
    if len(posts) > MOST_EDGES:
        raise TooManyEdgesError(
            f"The graph has {len(posts)} edges, and can have {MOST_EDGES}: train on fewer readings (--until)."
        )
    posts, post_order = _by_degree(posts, len(post_ids))
    readers, reader_order = _by_degree(readers, len(reader_hashes))
    ids = [post_ids[number] for number in post_order.tolist()]
    return Stored(
        grouped(posts, readers, len(post_order)),
        grouped(readers, posts, len(reader_order)),
        index_of(hashes_of(ids)),
        index_of(reader_hashes[reader_order]),
        names_of(ids),
    )


def _by_degree(nodes: Numbers, count: int) -> tuple[Numbers, NDArray[np.int64]]:
    """The nodes by new numbers, and the old number of each new one."""
    degrees = np.bincount(nodes, minlength=count)
    order = np.argsort(-degrees, kind="stable")[: np.count_nonzero(degrees)]
    renumbered = np.zeros(count, np.uint32)
    renumbered[order] = np.arange(len(order), dtype=np.uint32)
    return renumbered[nodes], order
