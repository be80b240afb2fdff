"""What request ids are worth: whether this service gave them to that reader, and what was served then."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, and_, select

from nearfeed_contracts.events import HOLDOUT
from nearfeed_contracts.tables import experiments, served_items, served_requests
from nearfeed_recommender.exposure_log.attribution import RequestIdCheck
from nearfeed_recommender.exposure_log.request_ids import RequestId, read_request_id
from nearfeed_recommender.identity.links import kin_of
from nearfeed_runtime.sql import chunks

Arms = Mapping[tuple[int, int], tuple[str, str]]  # experiment and arm, by number and index


class Claim(NamedTuple):
    """A request id that a reader's event on a post has told."""

    user_id: str
    item_id: str
    request_id: str


class _Known(NamedTuple):
    """What the ledger has of answers: those of which it knows, and the experiment and arm of their posts."""

    answers: set[str]
    posts: dict[tuple[str, str], tuple[str | None, str | None]]


def check_request_ids(
    transaction: Connection, secret: bytes, claims: Collection[Claim]
) -> dict[Claim, RequestIdCheck]:
    """The experiment is that of the section in which the post stands.

    Where the answer's row has not come, or was lost, it is that of the request id, if that names one alone.
    """
    read = {one: read_request_id(secret, one.user_id, one.request_id) for one in claims}
    kin = kin_of(transaction, {one.user_id for one, found in read.items() if found is None})
    for one in (one for one, found in read.items() if found is None):
        others = (
            read_request_id(secret, other, one.request_id) for other in sorted(kin.get(one.user_id, ()))
        )
        read[one] = next((found for found in others if found is not None), None)
    genuine = {one: found for one, found in read.items() if found is not None}
    kept = _known(transaction, genuine)
    arms = _arms(transaction, genuine.values())
    return {one: _check(one, read[one], kept, arms) for one in claims}


def _check(one: Claim, read: RequestId | None, kept: _Known, arms: Arms) -> RequestIdCheck:
    if read is None:
        return RequestIdCheck("invalid_request_id")
    place = kept.posts.get((one.request_id, one.item_id))
    if place is not None:
        return RequestIdCheck("explicit", *place)
    if one.request_id in kept.answers:
        return RequestIdCheck("not_in_response")
    alone = read.arms[0] if len(read.arms) == 1 else None
    return RequestIdCheck("explicit", *arms.get(alone, (None, None))) if alone else RequestIdCheck("explicit")


def _known(transaction: Connection, claims: Iterable[Claim]) -> _Known:
    items: dict[str, set[str]] = defaultdict(set)
    for one in claims:
        items[one.request_id].add(one.item_id)
    request, item = served_requests.c, served_items.c
    same = and_(item.request_id == request.request_id, item.section == request.section)
    kept = _Known(set(), {})
    for chunk in chunks(sorted(items)):
        answers = select(request.request_id).where(request.request_id.in_(chunk))
        kept.answers.update(transaction.scalars(answers))
        wanted = sorted(set().union(*(items[request_id] for request_id in chunk)))
        posts = (
            select(item.request_id, item.item_id, request.experiment, request.arm)
            .select_from(served_items.join(served_requests, same))
            .where(item.request_id.in_(chunk), item.item_id.in_(wanted))
            .order_by(item.section.desc())
        )
        for row in transaction.execute(posts):
            kept.posts[row.request_id, row.item_id] = (row.experiment, row.arm)
    return kept


def _arms(transaction: Connection, read: Iterable[RequestId]) -> Arms:
    """Names by the numbers of those that were read; an experiment that is not known is left out."""
    numbers = sorted({number for one in read for number, _ in one.arms})
    found: dict[tuple[int, int], tuple[str, str]] = {}
    for chunk in chunks(numbers):
        query = select(experiments.c.number, experiments.c.name, experiments.c.document)
        for row in transaction.execute(query.where(experiments.c.number.in_(chunk))):
            arms = [*orjson.loads(row.document)["arms"], HOLDOUT]
            found |= {(row.number, index): (row.name, arm) for index, arm in enumerate(arms)}
    return found
