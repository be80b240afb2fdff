"""A page: all its sections in one answer, each filled by its provider, each failing alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection

from nearfeed_contracts.errors import NearfeedError, NotFoundError
from nearfeed_recommender.config.live import Snapshot
from nearfeed_recommender.config.schema import Page, Section
from nearfeed_recommender.posts import audience_of
from nearfeed_recommender.providers.fetching import Fetches
from nearfeed_recommender.providers.pipeline import rank_by
from nearfeed_recommender.providers.request import Request, active_space_of, open_request
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.rankings import entries_of, new_request_id
from nearfeed_recommender.serving_notes import Answer, note_served
from nearfeed_recommender.showing import ShownPost, visible_from, with_reasons
from nearfeed_runtime.sql import reading

logger = structlog.get_logger(__name__)


class UnknownPageError(NotFoundError):
    """A page that the configuration does not have."""


@dataclass(frozen=True)
class SectionAnswer:
    """`failures` says what the section had to do without; under `section`, that it is empty for a fault."""

    name: str
    title: str
    provider: str
    failures: Mapping[str, str]
    items: list[ShownPost] = field(default_factory=list)


@dataclass(frozen=True)
class PageAnswer:
    """All sections of a page for a reader; no post stands in two of them."""

    request_id: str
    space: str | None
    config_version: int
    sections: list[SectionAnswer]


def answer_page(serving: Serving, name: str, user_id: str, *, explain: bool = False) -> PageAnswer:
    """Asks the sources of all sections at once, each once, and fills the sections in their order.

    Raises UnknownPageError.
    """
    now = serving.config.current
    page = _page_of(now, name)
    with reading(serving.engine) as connection:
        audience = audience_of(connection, user_id, frozenset(), None)
        request = open_request(serving, connection, audience, active_space_of(connection))
        fetches = Fetches(serving, request)
        for section in page.sections:
            fetches.start(now.config.providers[section.provider])
        filler = _Filler(serving, connection, request, fetches, now, name, new_request_id(), explain)
        sections = [filler.fill(section) for section in page.sections]
    return PageAnswer(filler.request_id, request.space, now.version, sections)


def _page_of(now: Snapshot, name: str) -> Page:
    if name not in now.config.pages:
        known = ", ".join(sorted(now.config.pages)) or "none"
        raise UnknownPageError(f"There is no page {name!r}; pages: {known}.")
    return now.config.pages[name]


@dataclass(frozen=True)
class _Filler:
    """Fills the sections of one page; `taken` are the posts of the sections before."""

    serving: Serving
    connection: Connection
    request: Request
    fetches: Fetches
    now: Snapshot
    page: str
    request_id: str
    explain: bool
    taken: set[str] = field(default_factory=set)

    def fill(self, section: Section) -> SectionAnswer:
        """The section, or an empty one that says why."""
        try:
            return self._filled(section)
        except Exception as error:
            expected = isinstance(error, NearfeedError)
            logger.warning("section failed", section=section.name, error=str(error), exc_info=not expected)
            told = str(error) if expected else "the section has failed"
            return SectionAnswer(section.name, section.title, section.provider, {"section": told})

    def _filled(self, section: Section) -> SectionAnswer:
        ranked = rank_by(
            self.serving, self.request, self.now.config, section.provider, self.fetches, self.taken
        )
        audience = self.request.audience.relaxed(ranked.filters)
        entries = entries_of(ranked, explain=self.explain)
        shown, _ = visible_from(self.connection, audience, entries, 0, section.limit)
        items = with_reasons(
            self.serving.pooling, self.connection, self.request.profile, self.request.space, shown
        )
        self.taken.update(each.post.id for each in items)
        answer = Answer(self.request_id, self.page, section.name, ranked.provider, self.now.version, 0)
        note_served(self.serving, self.request, answer, items, ranked.inputs)
        return SectionAnswer(section.name, section.title, ranked.provider, ranked.failures, items)
