"""The order of the candidates: as they were blended, by a formula, or by a ranker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from nearfeed_contracts.errors import NearfeedError
from nearfeed_core.formula import evaluate_formula, variables_of
from nearfeed_core.ranking_inputs import PostInputs, ReaderInputs
from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender.config.schema import FormulaRanking, ModelRanking
from nearfeed_recommender.models.rankers import Ranker
from nearfeed_recommender.models.registry import Registry
from nearfeed_recommender.pipeline.candidates import Candidates, Values
from nearfeed_recommender.pipeline.popularity import Popularity
from nearfeed_recommender.pipeline.query import Query

STEP = "rank"


class BadScoresError(NearfeedError):
    """A ranker whose scores order nothing."""


@dataclass(frozen=True)
class Inputs:
    """What a ranker knew when it ranked: of the user, and of the posts that it scored, by row."""

    reader: ReaderInputs
    posts: Mapping[int, PostInputs]


@dataclass(frozen=True)
class Ordered:
    """Candidates in their order, and what the ranker knew; None where there was none."""

    candidates: Candidates
    inputs: Inputs | None = None


class RankStage(Protocol):
    def order(self, query: Query, candidates: Candidates, /) -> Ordered:
        """The candidates in a new order. Raises ModelNotLoadedError and BadScoresError."""
        ...


class BlendOrder:
    """The order of the blend."""

    def order(self, _: Query, candidates: Candidates) -> Ordered:
        return Ordered(candidates)


class ByFormula:
    """The order of a formula over what is known of each candidate."""

    def __init__(self, spec: FormulaRanking, sources: Sequence[str], popularity: Popularity) -> None:
        self._spec, self._popularity = spec, popularity
        variables = variables_of(tuple(sources)).items()
        self._by_source = {
            variable: list(sources).index(source)
            for source, variable in variables
            if variable in spec.formula
        }

    def order(self, query: Query, candidates: Candidates) -> Ordered:
        scores = np.asarray(evaluate_formula(self._spec.formula, self._values(query, candidates)))
        return Ordered(by_scores(candidates, np.broadcast_to(scores, len(candidates))))

    def _values(self, query: Query, candidates: Candidates) -> dict[str, Values]:
        """What a formula may name, each (candidates).

        `score` is that of the blend, `freshness` halves with every half-life, `popularity` is log(1 + users),
        `affinity` the share of the user's engagements in the post's community; and a source's score by its
        name, 0 where it has not found the post.
        """
        columns, rows = query.columns, candidates.rows
        # These come before `affinity`, which then has room for all of their communities.
        communities, shares = columns.community[rows], query.state.inputs.communities
        affinity = np.zeros(len(columns.communities))
        for community, share in shares.items():
            code = columns.communities.find(community)
            if code is not None and code < len(affinity):
                affinity[code] = share
        age = np.maximum(0, query.now - columns.published_at[rows]) / HOUR_MICROS
        return {name: candidates.source_scores[number] for name, number in self._by_source.items()} | {
            "score": candidates.scores,
            "freshness": np.exp2(-age / self._spec.half_life_hours),
            "popularity": np.log1p(self._popularity.users_of(rows).astype(np.float64)),
            "affinity": affinity[communities],
        }


class ByRanker:
    """The order of a ranker over the first candidates; the others follow as they were."""

    def __init__(self, spec: ModelRanking, models: Registry, popularity: Popularity) -> None:
        self._spec, self._models, self._popularity = spec, models, popularity

    def order(self, query: Query, candidates: Candidates) -> Ordered:
        ranker: Ranker = self._models.get(self._spec.model)
        top = candidates.take(slice(self._spec.top))
        reader = user_inputs(query)
        posts = post_inputs(query, top, self._popularity.users_of(top.rows).tolist())
        scores = ranker.score(reader, posts)
        if scores.shape != (len(posts),) or not np.isfinite(scores).all():
            raise BadScoresError(f"model {self._spec.model} gives no finite number for each post")
        ordered = by_scores(candidates, scores.astype(np.float64))
        return Ordered(ordered, Inputs(reader, dict(zip(top.rows.tolist(), posts, strict=True))))


def by_scores(candidates: Candidates, scores: Values) -> Candidates:
    """The first m candidates best first by new scores (m), ties as they were; the rest follows."""
    order = np.argsort(-scores, kind="stable")
    rest = np.arange(len(scores), len(candidates))
    placed = candidates.take(np.concatenate([order, rest]))
    placed = replace(placed, scores=np.concatenate([scores[order], placed.scores[len(scores) :]]))
    placed.mark(STEP, range(len(scores)))
    return placed


def user_inputs(query: Query) -> ReaderInputs:
    """The user as rankers know them, at the time of the request."""
    return replace(query.state.inputs, served_at=query.now)


def post_inputs(query: Query, candidates: Candidates, users: Sequence[int]) -> list[PostInputs]:
    """The candidates as they are now, with how many users (n) each has and what its sources said of it."""
    columns, names, rows = query.columns, candidates.names, candidates.rows
    known = zip(
        rows.tolist(),
        columns.community[rows].tolist(),
        columns.author[rows].tolist(),
        columns.published_at[rows].tolist(),
        users,
        candidates.ranks.T.tolist(),
        candidates.source_scores.T.tolist(),
        strict=True,
    )
    made = []
    for row, community, author, published_at, count, ranks, scores in known:
        by = [number for number, rank in enumerate(ranks) if rank]
        made.append(
            PostInputs(
                item_id=columns.ids[row],
                community_id=columns.communities.values[community],
                author_id=columns.authors.values[author],
                published_at=published_at,
                tags=columns.tags_of(row),
                readers=count,
                ranks={names[number]: ranks[number] for number in by},
                scores={names[number]: scores[number] for number in by},
            )
        )
    return made
