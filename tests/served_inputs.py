"""Inputs of rankers as they may be served."""

from typing import Any

from hypothesis import strategies as st

from nearfeed_core.ranking_inputs import PostInputs, ReaderInputs

_IDS = st.text("abcé-1", min_size=1, max_size=3)
_SHARES = st.dictionaries(_IDS, st.floats(0, 1), max_size=4)
_TIMES = st.integers(0, 2_000_000_000_000_000)
_READERS = st.builds(ReaderInputs, _TIMES, st.integers(0, 512), _SHARES, _SHARES, _SHARES)
_POSTS = st.builds(
    PostInputs,
    _IDS,
    _IDS,
    _IDS,
    _TIMES,
    st.lists(_IDS, max_size=3).map(tuple),
    st.integers(0, 10_000),
    st.dictionaries(_IDS, st.integers(1, 500), max_size=3),
    st.dictionaries(_IDS, st.floats(-1e6, 1e6), max_size=3),
)
SERVED = st.tuples(_READERS, st.lists(_POSTS, min_size=1, max_size=6))


def reader(served_at: int = 0, **told: Any) -> ReaderInputs:
    return ReaderInputs(served_at, **told)


def post(item_id: str, community_id: str, author_id: str, published_at: int, **told: Any) -> PostInputs:
    return PostInputs(item_id, community_id, author_id, published_at, **told)
