"""Lists of a run per reader, in memory."""

from dataclasses import dataclass

from nearfeed_contracts.runs import LISTS, Run
from nearfeed_contracts.vector_store import Hit
from nearfeed_recommender.config.schema import EVERYBODY
from nearfeed_recommender.models.ranked import RankedLists, ranked_lists


@dataclass(frozen=True)
class Lists:
    """Safe for use by several threads: nothing in it changes."""

    lists: RankedLists

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
    return Lists(ranked_lists(LISTS, run.list_batches()))
