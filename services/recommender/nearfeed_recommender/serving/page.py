"""A page: all its sections in one response, each filled by its provider, each failing alone."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from nearfeed_contracts.errors import NearfeedError, NotFoundError, public_message
from nearfeed_contracts.events import ServedState
from nearfeed_recommender.catalog.columns import Rows
from nearfeed_recommender.config.live import Snapshot
from nearfeed_recommender.config.schema import Page, Section
from nearfeed_recommender.experiments.schema import Place
from nearfeed_recommender.exposure_log.request_ids import new_nonce, sign_request_id
from nearfeed_recommender.pipeline.candidates import nothing
from nearfeed_recommender.pipeline.fetch import Fetches
from nearfeed_recommender.pipeline.pipeline import RankedList
from nearfeed_recommender.pipeline.query import Hydrator, Query
from nearfeed_recommender.serving.assignment import Assignments, arms_of, assign_places, provider_of
from nearfeed_recommender.serving.exposure import Exposure, ExposureRecorder
from nearfeed_recommender.serving.feed import Ranker
from nearfeed_recommender.serving.response import Order, Responder, Shown, encode_items, encode_object

logger = structlog.get_logger(__name__)
_NOTHING = Order(nothing(()), ())


class UnknownPageError(NotFoundError):
    """A page that the configuration does not have."""


@dataclass(frozen=True)
class RankedSection:
    """A section that has been ranked; `ranked` is None where that has failed."""

    section: Section
    provider: str
    ranked: RankedList | None
    failures: Mapping[str, str]

    @property
    def order(self) -> Order:
        return Order(self.ranked.candidates, self.ranked.kinds) if self.ranked else _NOTHING

    @property
    def state(self) -> ServedState:
        if self.ranked is None:
            return "failed"
        return "degraded" if self.failures else "whole"

    @property
    def first_rows(self) -> Rows:
        """What it shows, if all of it may be seen."""
        return self.order.candidates.rows[: self.section.limit]


@dataclass(frozen=True)
class PageAnswer:
    """All sections of a page for a user with what each shows; no post stands in two of them."""

    request_id: str
    space: str | None
    config_version: int
    sections: Sequence[tuple[RankedSection, Sequence[Shown]]]

    def encode(self, *, explain: bool = False) -> bytes:
        """The page as JSON."""
        sections = b",".join(_encoded(section, shown, explain) for section, shown in self.sections)
        fields = {"request_id": self.request_id, "space": self.space, "config_version": self.config_version}
        return encode_object(fields, "sections", b"[" + sections + b"]")


def _encoded(section: RankedSection, shown: Sequence[Shown], explain: bool) -> bytes:
    fields = {
        "name": section.section.name,
        "title": section.section.title,
        "provider": section.provider,
        "degraded": bool(section.failures),
        "failures": dict(section.failures),
    }
    return encode_object(fields, "items", encode_items(section.order, shown, explain=explain))


@dataclass(frozen=True)
class Pages:
    """Thread-safe. `secret` signs request ids."""

    ranker: Ranker
    hydrator: Hydrator
    responder: Responder
    exposures: ExposureRecorder
    secret: bytes

    def answer(
        self, name: str, user_id: str, *, explain: bool = False, until: float = math.inf
    ) -> PageAnswer:
        """Asks the sources of all sections at once, each once, and fills the sections in their order.

        It is due at `until`, a time of time.monotonic: sources that are late are left out. Raises
        UnknownPageError.
        """
        began = time.perf_counter()
        snapshot = self.ranker.config.current
        page = _page_of(snapshot, name)
        query = self.hydrator.query(user_id)
        nonce = new_nonce()
        places = [Place(name, section.name) for section in page.sections]
        assigned = assign_places(self.ranker.experiments, snapshot.config, query, nonce, places)
        fetches = self.ranker.fetches(query, until)
        sections = self._ranked(query, fetches, snapshot, name, assigned, explain)
        shown = self._shown(query, sections)
        request_id = sign_request_id(
            self.secret, user_id, query.now, snapshot.version, arms_of(assigned), nonce
        )
        filled = list(zip(sections, shown, strict=True))
        for section, posts in filled:
            exposure = Exposure(
                request_id,
                name,
                section.section.name,
                section.provider,
                snapshot.version,
                0,
                began,
                assigned.get(Place(name, section.section.name)),
                section.state,
            )
            inputs = section.ranked.inputs if section.ranked else None
            self.exposures.record(query, exposure, section.order, posts, inputs)
        return PageAnswer(request_id, query.space, snapshot.version, filled)

    def _ranked(
        self,
        query: Query,
        fetches: Fetches,
        snapshot: Snapshot,
        page: str,
        assigned: Assignments,
        explain: bool,
    ) -> list[RankedSection]:
        """Each section without what those before it show; one that fails is named, and the others go on."""
        pipelines = self.ranker.pipelines.of(snapshot)
        sections = snapshot.config.pages[page].sections
        providers = [provider_of(assigned.get(Place(page, each.name)), each.provider) for each in sections]
        for provider in providers:
            fetches.start(pipelines[provider].sources, pipelines[provider].filters)
        made: list[RankedSection] = []
        taken = np.empty(0, np.int32)
        for section, provider in zip(sections, providers, strict=True):
            try:
                ranked = pipelines[provider].run(query, fetches, taken, explain=explain)
                made.append(RankedSection(section, ranked.provider, ranked, ranked.failures))
            except Exception as error:
                expected = isinstance(error, NearfeedError)
                logger.warning(
                    "section failed", section=section.name, error=str(error), exc_info=not expected
                )
                failures = {"section": public_message(error, "the section has failed")}
                made.append(RankedSection(section, provider, None, failures))
            taken = np.union1d(taken, made[-1].first_rows)
        return made

    def _shown(self, query: Query, sections: Sequence[RankedSection]) -> list[list[Shown]]:
        """What of each section may be seen, by one question to SQL where nothing has changed meanwhile."""
        posts = self.responder.posts(query)
        posts.read((section.order, range(len(section.first_rows))) for section in sections)
        taken = np.empty(0, np.int32)
        shown: list[list[Shown]] = []
        for section in sections:
            eligible = query.eligibility(section.ranked.filters if section.ranked else ())
            found, _ = posts.visible(section.order, eligible, 0, section.section.limit, taken)
            taken = np.union1d(taken, np.array([each.row for each in found], np.int32))
            shown.append(found)
        return shown


def _page_of(snapshot: Snapshot, name: str) -> Page:
    if name not in snapshot.config.pages:
        known = ", ".join(sorted(snapshot.config.pages)) or "none"
        raise UnknownPageError(f"There is no page {name!r}; pages: {known}.")
    return snapshot.config.pages[name]
