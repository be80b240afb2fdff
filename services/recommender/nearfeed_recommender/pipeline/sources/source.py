"""What every source is."""

from typing import Protocol

import numpy as np

from nearfeed_contracts.vector_store import Hits
from nearfeed_recommender.catalog.columns import Rows
from nearfeed_recommender.pipeline.candidates import Found
from nearfeed_recommender.pipeline.query import Query
from nearfeed_recommender.pipeline.search import first_eligible
from nearfeed_recommender.users.eligibility import Eligibility

SPARE = 8
"""How many times its limit a source asks of a model that knows no filters, so that enough is left."""


class Source(Protocol):
    """`waits` says that it asks something outside of this process, or computes for long: it gets a thread."""

    @property
    def waits(self) -> bool: ...

    def fetch(self, query: Query, eligible: Eligibility, /) -> Found:
        """Up to its limit of posts that the user may see, best first. Raises NearfeedError."""
        ...


def by_rank(rows: Rows) -> Found:
    """Rows (n) that score 1 / rank."""
    return Found(rows, 1 / np.arange(1, len(rows) + 1))


def eligible_hits(hits: Hits, eligible: Eligibility, limit: int) -> Found:
    """The first `limit` hits whose posts may be shown; posts that nobody knows are left out."""
    rows = eligible.state.columns.rows_of(hits.item_ids)
    return first_eligible(rows, np.asarray(hits.scores, np.float64), eligible, limit)
