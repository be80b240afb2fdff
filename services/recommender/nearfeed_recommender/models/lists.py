"""Lists of a run per reader, in memory."""

from dataclasses import dataclass

from nearfeed_contracts.fields import in_utc, to_micros
from nearfeed_contracts.runs import LISTS, Run
from nearfeed_contracts.vector_store import Hit
from nearfeed_recommender.config.schema import EVERYBODY
from nearfeed_recommender.models.ranked import RankedLists, ranked_lists


@dataclass(frozen=True)
class Lists:
    """Safe for use by several threads: nothing in it changes.

    `data_last` is the time of the newest reading that they may follow from, in microseconds since 1970.
    """

    lists: RankedLists
    data_last: int = 0

    def has(self, user_id: str) -> bool:
        """Whether the reader has a list of their own."""
        return user_id in self.lists.owners

    def of(self, user_id: str, limit: int | None = None) -> list[Hit]:
        """The reader's list by rank, or everybody's where they have none; [] where nobody has one."""
        owner = user_id if user_id in self.lists.owners else EVERYBODY
        rows = self.lists.rows_of(owner)
        items, scores = self.lists.items[rows][:limit], self.lists.scores[rows][:limit]
        return [
            Hit(self.lists.item_ids[item], float(score)) for item, score in zip(items, scores, strict=True)
        ]


def load_lists(run: Run) -> Lists:
    """Reads lists.parquet whole. Raises BrokenRunError."""
    made = run.manifest.data.last or run.manifest.created_at
    return Lists(ranked_lists(LISTS, run.list_batches()), to_micros(in_utc(made)))
