"""The order of the candidates: as they were blended, by a formula, or by a ranker."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.errors import NearfeedError
from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender.config.schema import FormulaRanking, ModelRanking, Ranking
from nearfeed_recommender.models.rankers import Ranker
from nearfeed_recommender.providers.candidates import Candidate, Facts, marked_by_score, source_step
from nearfeed_recommender.providers.formula import evaluate_formula, variables_of
from nearfeed_recommender.providers.inputs import Inputs, post_inputs, reader_inputs
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving

STEP = "rank"
Values = NDArray[np.float64]


class BadScoresError(NearfeedError):
    """A ranker whose scores order nothing."""


@dataclass(frozen=True)
class Ordered:
    """Candidates in their order, and what the ranker knew; None where there was none."""

    candidates: list[Candidate]
    inputs: Inputs | None = None


def order(
    serving: Serving,
    request: Request,
    ranking: Ranking,
    sources: tuple[str, ...],
    candidates: list[Candidate],
    facts: Mapping[str, Facts],
) -> Ordered:
    """The candidates by the provider's ranking. Raises ModelNotLoadedError and BadScoresError."""
    match ranking:
        case FormulaRanking():
            values = _formula_values(serving, request, ranking, sources, candidates, facts)
            return Ordered(marked_by_score(STEP, candidates, list(evaluate_formula(ranking.formula, values))))
        case ModelRanking():
            return _by_model(serving, request, ranking, candidates, facts)
        case _:
            return Ordered(candidates)


def _by_model(
    serving: Serving,
    request: Request,
    ranking: ModelRanking,
    candidates: list[Candidate],
    facts: Mapping[str, Facts],
) -> Ordered:
    ranker: Ranker = serving.models.get(ranking.model)
    scored, rest = candidates[: ranking.top], candidates[ranking.top :]
    reader = reader_inputs(serving, request)
    posts = post_inputs(serving, scored, facts)
    scores = ranker.score(reader, posts)
    if scores.shape != (len(posts),) or not np.isfinite(scores).all():
        raise BadScoresError(f"model {ranking.model} gives no finite number for each post")
    ordered = marked_by_score(STEP, scored, scores.tolist())
    return Ordered([*ordered, *rest], Inputs(reader, {post.item_id: post for post in posts}))


def _formula_values(
    serving: Serving,
    request: Request,
    ranking: FormulaRanking,
    sources: tuple[str, ...],
    candidates: list[Candidate],
    facts: Mapping[str, Facts],
) -> dict[str, Values]:
    """What a formula may name, each (candidates).

    `score` is that of the blend, `freshness` halves with every half-life, `popularity` is log(1 + readers),
    `affinity` the share of the reader's readings in the post's community; and a source's score by its name,
    0 where it has not brought the post.
    """
    communities = reader_inputs(serving, request).communities
    posts = [facts[candidate.item_id] for candidate in candidates]
    age = np.array([max(0, request.now - post.published_at) for post in posts], np.float64) / HOUR_MICROS
    readers = [serving.popularity.readers_of(candidate.item_id) for candidate in candidates]
    by_source = {
        variable: np.array([_score_of(candidate, source) for candidate in candidates], np.float64)
        for source, variable in variables_of(sources).items()
        if variable in ranking.formula
    }
    return by_source | {
        "score": np.array([candidate.score for candidate in candidates], np.float64),
        "freshness": np.exp2(-age / ranking.half_life_hours),
        "popularity": np.log1p(np.array(readers, np.float64)),
        "affinity": np.array([communities.get(post.community_id, 0.0) for post in posts], np.float64),
    }


def _score_of(candidate: Candidate, source: str) -> float:
    step = source_step(source)
    return next((mark.score for mark in candidate.marks if mark.step == step), 0.0)
