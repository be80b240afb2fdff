"""What an answer held, as the ledger is told: with what a ranker knew, or would have known."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from nearfeed_contracts.events import Served, ServedItem, ServedState
from nearfeed_contracts.fields import from_micros
from nearfeed_core.ranking_inputs import PostInputs
from nearfeed_recommender.answers.showing import ShownPost
from nearfeed_recommender.experiments.contexts import DRAWN_BY
from nearfeed_recommender.providers.candidates import Candidate
from nearfeed_recommender.providers.inputs import Inputs, post_inputs, reader_inputs
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving


@dataclass(frozen=True)
class Answer:
    """A section of an answer, or the part of it from the position `start` in its ranking on.

    `began` is when the request came in, by `time.perf_counter`; `readings` are those that an experiment's
    draw knew of, which may be more than rankers know. The rest is as in `Served`.
    """

    request_id: str
    page: str | None
    section: str
    provider: str
    config_version: int
    start: int
    began: float
    state: ServedState = "whole"
    experiment: str | None = None
    arm: str | None = None
    propensity: float | None = None
    unit_id: str | None = None
    readings: int | None = None


def note_served(
    serving: Serving, request: Request, answer: Answer, shown: Sequence[ShownPost], inputs: Inputs | None
) -> None:
    """Notes a section for the ledger; what it takes to tell it is gathered off the request's path.

    One without posts is noted where it belongs to an experiment, and nothing was shown before it.
    """
    if shown or (answer.experiment and answer.start == 0):
        took_ms = (time.perf_counter() - answer.began) * 1_000
        serving.ledger.note(lambda: _told(serving, request, answer, shown, inputs, took_ms))


@contextmanager
def failure_noted(serving: Serving, request: Request, answer: Answer) -> Iterator[None]:
    """Notes an answer that fails within the block, where it belongs to an experiment."""
    try:
        yield
    except Exception:
        note_served(serving, request, replace(answer, state="failed"), (), None)
        raise


def _told(
    serving: Serving,
    request: Request,
    answer: Answer,
    shown: Sequence[ShownPost],
    inputs: Inputs | None,
    took_ms: float,
) -> Served:
    reader = inputs.reader if inputs else reader_inputs(serving, request)
    drawn_by = {} if answer.readings is None else {DRAWN_BY: answer.readings}
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
        reader={**reader.to_json(), **drawn_by},
        experiment=answer.experiment,
        arm=answer.arm,
        propensity=answer.propensity,
        unit_id=answer.unit_id,
        state=answer.state,
        took_ms=took_ms,
        start=answer.start,
        items=tuple(
            ServedItem(
                item_id=each.post.id,
                position=each.position,
                source=each.entry.source,
                score=each.entry.score,
                inputs=posts[each.post.id].to_json(),
            )
            for each in shown
        ),
    )


def _inputs_now(serving: Serving, shown: Sequence[ShownPost]) -> dict[str, PostInputs]:
    candidates = [
        Candidate(each.post.id, each.entry.score, each.entry.source, each.entry.marks) for each in shown
    ]
    facts = {each.post.id: each.post.facts for each in shown}
    return {post.item_id: post for post in post_inputs(serving, candidates, facts)}
