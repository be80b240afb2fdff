"""The exposure-log record of a response: its posts, their places, and what rankers knew of them then.

It is encoded with the response, and written off the request's path.
"""

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import orjson
import structlog

from nearfeed_contracts.event_log import Record
from nearfeed_contracts.events import ServedState
from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.topics import SERVED
from nearfeed_recommender.experiments.assignment import Assignment
from nearfeed_recommender.experiments.bandit_features import DRAWN_BY
from nearfeed_recommender.exposure_log.writer import ExposureLogWriter
from nearfeed_recommender.pipeline.candidates import Candidates, nothing
from nearfeed_recommender.pipeline.popularity import Popularity
from nearfeed_recommender.pipeline.query import Query
from nearfeed_recommender.pipeline.rank import Inputs, post_inputs, user_inputs
from nearfeed_recommender.serving.response import Order, Shown

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Exposure:
    """A section of a response, or the part of it from the position `start` in its ranking on.

    `began` is when the request came in, by `time.perf_counter`. `page` is None for the feed by itself.
    """

    request_id: str
    page: str | None
    section: str
    provider: str
    config_version: int
    start: int
    began: float
    assignment: Assignment | None = None
    state: ServedState = "whole"


class ExposureRecorder:
    """Hands what was shown to the exposure log. Thread-safe."""

    def __init__(self, log: ExposureLogWriter, popularity: Popularity) -> None:
        self.log, self._popularity = log, popularity

    def record(
        self, query: Query, exposure: Exposure, order: Order, shown: Sequence[Shown], inputs: Inputs | None
    ) -> None:
        """Records a section; one without posts where it belongs to an experiment, and at its start."""
        if not shown and (exposure.assignment is None or exposure.start > 0):
            return
        took_ms = (time.perf_counter() - exposure.began) * 1_000
        places = np.array([each.place for each in shown], np.intp)
        made = _Made(query, exposure, order.candidates.take(places), places.tolist(), took_ms)
        try:
            users = self._popularity.users_of(made.candidates.rows)
            record = _record(made, users.tolist(), inputs)
        except Exception:
            logger.exception("a section could not be told to the ledger")
            self.log.count_failed()
        else:
            self.log.note(record)

    @contextmanager
    def failure_recorded(self, query: Query, exposure: Exposure) -> Iterator[None]:
        """Records a response that fails within the block, where it belongs to an experiment."""
        try:
            yield
        except Exception:
            self.record(query, replace(exposure, state="failed"), Order(nothing(()), ()), (), None)
            raise


class _Made(NamedTuple):
    """A section: its candidates with their places in the ranking, made in `took_ms` milliseconds."""

    query: Query
    exposure: Exposure
    candidates: Candidates
    places: list[int]
    took_ms: float


def _record(made: _Made, users: list[int], inputs: Inputs | None) -> Record:
    """The record of `nearfeed_contracts.events.Served`, encoded without an object per post."""
    query, exposure, assignment = made.query, made.exposure, made.exposure.assignment
    user = inputs.reader if inputs else user_inputs(query)
    drawn_by = {} if assignment is None else {DRAWN_BY: assignment.readings}
    body: dict[str, Any] = {
        "schema_version": 1,
        "event_id": uuid.uuid4().hex,
        "type": "served",
        "request_id": exposure.request_id,
        "user_id": query.state.user_id,
        "served_at": from_micros(query.now),
        "page": exposure.page,
        "section": exposure.section,
        "provider": exposure.provider,
        "config_version": exposure.config_version,
        "space": query.space,
        "reader": {**user.to_json(), **drawn_by},
        "experiment": assignment and assignment.experiment,
        "arm": assignment and assignment.arm,
        "propensity": assignment and assignment.propensity,
        "unit_id": _unit(assignment, query.state.user_id),
        "state": exposure.state,
        "took_ms": made.took_ms,
        "start": exposure.start,
        "items": _items(made, users, inputs),
    }
    known = {name: value for name, value in body.items() if value is not None}
    return Record(SERVED.name, query.state.user_id, orjson.dumps(known, option=orjson.OPT_UTC_Z))


def _items(made: _Made, users: list[int], inputs: Inputs | None) -> list[dict[str, Any]]:
    """Each post with what the ranker knew of it, or would have known."""
    ranked = inputs.posts if inputs else {}
    now = post_inputs(made.query, made.candidates, users)
    candidates = made.candidates
    return [
        {
            "item_id": post.item_id,
            "position": place,
            "source": candidates.names[source],
            "score": score,
            "inputs": ranked.get(row, post),
        }
        for place, row, source, score, post in zip(
            made.places,
            candidates.rows.tolist(),
            candidates.source.tolist(),
            candidates.scores.tolist(),
            now,
            strict=True,
        )
    ]


def _unit(assignment: Assignment | None, user_id: str) -> str | None:
    """What the user was assigned by, where it is not their id."""
    return None if assignment is None or assignment.unit == user_id else assignment.unit
