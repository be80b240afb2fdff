"""Slate rules: what a page looks like as a whole.

Whatever their order in the configuration, rules are applied so that they hold together: near-duplicates
go first, then the order is made diverse, and then places are given out under `at_most`, which always
holds, with those for new posts and first exposures (`nearfeed_recommender.pipeline.places`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender.catalog.embeddings import Embeddings
from nearfeed_recommender.config.schema import (
    AtMost,
    Diversity,
    FirstExposure,
    NearDuplicates,
    NewShare,
    SlateRule,
)
from nearfeed_recommender.models.registry import Registry
from nearfeed_recommender.pipeline.candidates import Candidates
from nearfeed_recommender.pipeline.diversity import (
    Vectors,
    marginal_order,
    unit_vectors,
    without_near_duplicates,
)
from nearfeed_recommender.pipeline.places import Exposure, Limit, NewPlaces, Placed, filled
from nearfeed_recommender.pipeline.query import Query


class Slate:
    """The rules of one provider; a candidate whose place a rule has given it is marked `slate:RULE`.

    A post at a place for new posts comes from `new`, one that a first exposure has moved from its source.
    """

    def __init__(self, rules: Sequence[SlateRule], embeddings: Embeddings, models: Registry) -> None:
        self._embeddings, self._models = embeddings, models
        self._duplicates = [rule for rule in rules if isinstance(rule, NearDuplicates)]
        self._diversity = [rule for rule in rules if isinstance(rule, Diversity)]
        self._limits = [rule for rule in rules if isinstance(rule, AtMost)]
        shares = [rule for rule in rules if isinstance(rule, NewShare)]
        self._shares = sorted(shares, key=lambda rule: rule.hours)
        self._exposures = [rule for rule in rules if isinstance(rule, FirstExposure)]

    def apply(self, query: Query, candidates: Candidates) -> Candidates:
        """The slate: each candidate at most once, the same for the same arguments."""
        for duplicates in self._duplicates:
            units = self._units(query, duplicates.model, candidates)
            candidates = candidates.take(without_near_duplicates(units, duplicates.similarity))
        for diversity in self._diversity:
            candidates = self._diversified(query, diversity, candidates)
        if self._limits or self._shares or self._exposures:
            candidates = self._placed(query, candidates)
        return candidates

    def _units(self, query: Query, model: str, candidates: Candidates) -> Vectors:
        space = self._models.space_of(model) or query.space
        if space is None:
            return np.zeros((len(candidates), 0), np.float32)
        return unit_vectors(self._embeddings, space, candidates.rows)

    def _diversified(self, query: Query, rule: Diversity, candidates: Candidates) -> Candidates:
        """The first `depth` by maximal marginal relevance, the others as they were.

        Relevance is 1 - place / depth, so that a strength means the same whatever the scores are.
        """
        top = candidates.take(slice(rule.depth))
        order = marginal_order(self._units(query, rule.model, top), rule.strength)
        rest = np.arange(len(top), len(candidates))
        placed = candidates.take(np.concatenate([np.array(order, np.intp), rest]))
        placed.mark("slate:mmr", [place for place, before in enumerate(order) if place != before])
        return placed

    def _placed(self, query: Query, candidates: Candidates) -> Candidates:
        columns, rows = query.columns, candidates.rows
        keys = {"author": columns.author[rows].tolist(), "community": columns.community[rows].tolist()}
        published_at = columns.published_at[rows]
        slots = filled(
            len(candidates),
            [Limit(rule.n, rule.window, keys[rule.of]) for rule in self._limits],
            [
                NewPlaces(rule.share, (published_at >= query.now - rule.hours * HOUR_MICROS).tolist())
                for rule in self._shares
            ],
            [Exposure(rule.within, self._found_by(rule.source, candidates)) for rule in self._exposures],
        )
        return self._marked(candidates.take([slot.candidate for slot in slots]), slots)

    def _found_by(self, source: str, candidates: Candidates) -> list[int]:
        return np.flatnonzero(candidates.ranks[candidates.names.index(source)]).tolist()

    def _marked(self, placed: Candidates, slots: Sequence[Placed]) -> Candidates:
        """With the source that a rule has given to a place, and a mark of each rule that had a hand in it."""
        source = placed.source.copy()
        new = len(placed.names) - 1
        for place, slot in enumerate(slots):
            if slot.is_put_off:
                placed.mark("slate:at_most", [place])
            if slot.is_kept:
                source[place] = new
                placed.mark("slate:new_share", [place])
            elif slot.exposure is not None:
                source[place] = placed.names.index(self._exposures[slot.exposure].source)
                placed.mark("slate:first_exposure", [place])
        return replace(placed, source=source)
