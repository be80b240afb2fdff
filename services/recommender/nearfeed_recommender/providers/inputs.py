"""What a ranker may know, gathered from a request: the same for serving and for the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nearfeed_core.ranking_inputs import PostInputs, ReaderInputs, WeighedPost, reader_of
from nearfeed_recommender.providers.candidates import SOURCE_MARK, Candidate, Facts
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving


@dataclass(frozen=True)
class Inputs:
    """What a ranker knew when it ranked: of the reader, and of the posts that it scored, by id."""

    reader: ReaderInputs
    posts: Mapping[str, PostInputs]


def reader_inputs(serving: Serving, request: Request) -> ReaderInputs:
    """The reader as their newest readings show them."""
    facts = serving.facts.of([item for item, _ in request.readings])
    known = [(facts[item], weight) for item, weight in request.readings if item in facts]
    return reader_of(
        request.now,
        [WeighedPost(weight, post.community_id, post.author_id, post.tags) for post, weight in known],
    )


def post_inputs(
    serving: Serving, candidates: Sequence[Candidate], facts: Mapping[str, Facts]
) -> list[PostInputs]:
    """The candidates as they are now, with what their sources said of them."""
    return [_post_inputs(serving, candidate, facts[candidate.item_id]) for candidate in candidates]


def _post_inputs(serving: Serving, candidate: Candidate, facts: Facts) -> PostInputs:
    marks = [mark for mark in candidate.marks if mark.step.startswith(SOURCE_MARK)]
    names = [mark.step.removeprefix(SOURCE_MARK) for mark in marks]
    return PostInputs(
        item_id=candidate.item_id,
        community_id=facts.community_id,
        author_id=facts.author_id,
        published_at=facts.published_at,
        tags=facts.tags,
        readers=serving.popularity.readers_of(candidate.item_id),
        ranks={name: mark.rank for name, mark in zip(names, marks, strict=True)},
        scores={name: mark.score for name, mark in zip(names, marks, strict=True)},
    )
