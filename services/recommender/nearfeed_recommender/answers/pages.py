"""A page: all its sections in one answer, each filled by its provider, each failing alone."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import structlog
from sqlalchemy import Connection

from nearfeed_contracts.errors import NearfeedError, NotFoundError
from nearfeed_contracts.events import ServedState
from nearfeed_recommender.answers.rankings import Entry, entries_of
from nearfeed_recommender.answers.showing import ShownPost, Visible, visible_from, with_reasons
from nearfeed_recommender.config.live import Snapshot
from nearfeed_recommender.config.schema import Page, Section
from nearfeed_recommender.experiments.assigning import Assignment
from nearfeed_recommender.experiments.choosing import arms_of, choose, noted_fields, provider_of
from nearfeed_recommender.experiments.schema import Place
from nearfeed_recommender.ledger.notes import Answer, note_served
from nearfeed_recommender.ledger.request_ids import new_nonce, sign_request_id
from nearfeed_recommender.posts import audience_of, posts_by_id
from nearfeed_recommender.providers.fetching import Fetches
from nearfeed_recommender.providers.pipeline import Ranked, rank_by
from nearfeed_recommender.providers.request import Request, active_space_of, open_request
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.telling import told
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
    items: list[ShownPost]


@dataclass(frozen=True)
class PageAnswer:
    """All sections of a page for a reader; no post stands in two of them."""

    request_id: str
    space: str | None
    config_version: int
    sections: list[SectionAnswer]


@dataclass(frozen=True)
class _Plan:
    """A section that has been ranked; `ranked` is None where that has failed."""

    section: Section
    ranked: Ranked | None
    failures: Mapping[str, str]
    entries: Sequence[Entry] = ()

    @property
    def state(self) -> ServedState:
        if self.ranked is None:
            return "failed"
        return "degraded" if self.failures else "whole"

    @property
    def first_ids(self) -> list[str]:
        """What it shows, if all of it may be seen."""
        return [entry.item_id for entry in self.entries[: self.section.limit]]


def answer_page(serving: Serving, name: str, user_id: str, *, explain: bool = False) -> PageAnswer:
    """Asks the sources of all sections at once, each once, and fills the sections in their order.

    Raises UnknownPageError.
    """
    began = time.perf_counter()
    now = serving.config.current
    page = _page_of(now, name)
    with reading(serving.engine) as connection:
        audience = audience_of(connection, user_id, frozenset(), None)
        request = open_request(serving, connection, audience, active_space_of(connection))
        nonce = new_nonce()
        places = [Place(name, section.name) for section in page.sections]
        chosen = choose(serving, connection, now.config, request, nonce, places)
        plans = _rank(serving, request, now, _with_arms(name, page, chosen), explain)
        shown = _show(connection, request, plans)
        posts = with_reasons(serving, connection, request, list(chain(*shown)))
    request_id = sign_request_id(serving.secret, user_id, request.now, now.version, arms_of(chosen), nonce)
    answer = PageAnswer(request_id, request.space, now.version, _filled(plans, shown, posts))
    _note(serving, request, name, answer, plans, chosen, began)
    return answer


def _page_of(now: Snapshot, name: str) -> Page:
    if name not in now.config.pages:
        known = ", ".join(sorted(now.config.pages)) or "none"
        raise UnknownPageError(f"There is no page {name!r}; pages: {known}.")
    return now.config.pages[name]


def _with_arms(name: str, page: Page, chosen: Mapping[Place, Assignment]) -> Page:
    """The page with the providers that experiments have chosen."""
    if not chosen:
        return page
    sections = (
        section.model_copy(
            update={"provider": provider_of(chosen.get(Place(name, section.name)), section.provider)}
        )
        for section in page.sections
    )
    return page.model_copy(update={"sections": tuple(sections)})


def _rank(serving: Serving, request: Request, now: Snapshot, page: Page, explain: bool) -> list[_Plan]:
    """Each section without what those before it show; one that fails is told, and the others go on."""
    fetches = Fetches(serving, request)
    for section in page.sections:
        fetches.start(now.config.providers[section.provider])
    plans: list[_Plan] = []
    taken: set[str] = set()
    for section in page.sections:
        try:
            ranked = rank_by(serving, request, now.config, section.provider, fetches, taken)
            plans.append(_Plan(section, ranked, ranked.failures, entries_of(ranked, explain=explain)))
        except Exception as error:
            expected = isinstance(error, NearfeedError)
            logger.warning("section failed", section=section.name, error=str(error), exc_info=not expected)
            plans.append(_Plan(section, None, {"section": told(error, "the section has failed")}))
        taken.update(plans[-1].first_ids)
    return plans


def _show(connection: Connection, request: Request, plans: Sequence[_Plan]) -> list[list[Visible]]:
    """What of each section may be seen, by one question to SQL where nothing has changed meanwhile."""
    at_hand = posts_by_id(connection, list(chain(*(plan.first_ids for plan in plans))))
    taken: set[str] = set()
    shown: list[list[Visible]] = []
    for plan in plans:
        audience = request.audience.relaxed(plan.ranked.filters if plan.ranked else ())
        entries = [entry for entry in plan.entries if entry.item_id not in taken]
        posts, _ = visible_from(connection, audience, entries, 0, plan.section.limit, at_hand)
        taken.update(each.post.id for each in posts)
        shown.append(posts)
    return shown


def _filled(
    plans: Sequence[_Plan], shown: Sequence[Sequence[Visible]], posts: Sequence[ShownPost]
) -> list[SectionAnswer]:
    """`posts` has those of all sections, one after the other."""
    following: Iterator[ShownPost] = iter(posts)
    return [
        SectionAnswer(
            plan.section.name,
            plan.section.title,
            plan.ranked.provider if plan.ranked else plan.section.provider,
            plan.failures,
            list(islice(following, len(some))),
        )
        for plan, some in zip(plans, shown, strict=True)
    ]


def _note(
    serving: Serving,
    request: Request,
    page: str,
    answer: PageAnswer,
    plans: Sequence[_Plan],
    chosen: Mapping[Place, Assignment],
    began: float,
) -> None:
    for plan, section in zip(plans, answer.sections, strict=True):
        noted = Answer(
            answer.request_id,
            page,
            section.name,
            section.provider,
            answer.config_version,
            0,
            began,
            state=plan.state,
            **noted_fields(chosen.get(Place(page, section.name)), request.user_id),
        )
        note_served(serving, request, noted, section.items, plan.ranked.inputs if plan.ranked else None)
