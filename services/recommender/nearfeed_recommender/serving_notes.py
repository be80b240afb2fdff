"""What an answer held, as the ledger is told: with what a ranker knew, or would have known."""

from collections.abc import Sequence
from dataclasses import dataclass

from nearfeed_contracts.events import Served, ServedItem
from nearfeed_contracts.fields import from_micros
from nearfeed_core.ranking_inputs import PostInputs
from nearfeed_recommender.providers.candidates import Candidate
from nearfeed_recommender.providers.inputs import Inputs, post_inputs, reader_inputs
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.showing import ShownPost


@dataclass(frozen=True)
class Answer:
    """A section of an answer; its posts stand at `start` and after."""

    request_id: str
    page: str | None
    section: str
    provider: str
    config_version: int
    start: int


def note_served(
    serving: Serving, request: Request, answer: Answer, shown: Sequence[ShownPost], inputs: Inputs | None
) -> None:
    """Notes a section for the ledger; what it takes to tell it is gathered off the request's path."""
    if shown:
        serving.ledger.note(lambda: _told(serving, request, answer, shown, inputs))


def _told(
    serving: Serving, request: Request, answer: Answer, shown: Sequence[ShownPost], inputs: Inputs | None
) -> Served:
    reader = inputs.reader if inputs else reader_inputs(serving, request)
    posts = {**_inputs_now(serving, shown), **(inputs.posts if inputs else {})}
    return Served(
        request_id=answer.request_id,
        user_id=request.user_id,
        served_at=from_micros(request.now),
        page=answer.page,
        section=answer.section,
        provider=answer.provider,
        config_version=answer.config_version,
        space=request.space,
        reader=reader.to_json(),
        items=tuple(
            ServedItem(
                item_id=each.post.id,
                position=answer.start + place,
                source=each.entry.source,
                score=each.entry.score,
                inputs=posts[each.post.id].to_json(),
            )
            for place, each in enumerate(shown)
        ),
    )


def _inputs_now(serving: Serving, shown: Sequence[ShownPost]) -> dict[str, PostInputs]:
    candidates = [
        Candidate(each.post.id, each.entry.score, each.entry.source, each.entry.marks) for each in shown
    ]
    facts = {each.post.id: each.post.facts for each in shown}
    return {post.item_id: post for post in post_inputs(serving, candidates, facts)}
