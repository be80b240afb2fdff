"""What posts are, kept for some minutes.

What it says may be that old. Nothing is shown for it: `showing.visible_from` reads SQL for what goes out.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Engine

from nearfeed_recommender.posts import facts_by_id
from nearfeed_recommender.providers.candidates import Facts
from nearfeed_recommender.providers.kept import Kept
from nearfeed_runtime.sql import reading

_SECONDS = 300.0
_MOST = 100_000


def kept_facts(engine: Engine) -> Kept[Facts]:
    """The facts of posts that stand in SQL."""

    def load(ids: Sequence[str]) -> Mapping[str, Facts]:
        with reading(engine) as connection:
            return facts_by_id(connection, ids)

    return Kept(load, seconds=_SECONDS, most=_MOST)
