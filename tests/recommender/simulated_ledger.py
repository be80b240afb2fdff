"""A ledger as it would be after an experiment with readers whose behaviour is known."""

import random
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from sqlalchemy import Engine, insert

from nearfeed_contracts.tables import outcomes, served_items, served_requests
from nearfeed_recommender.experiments.assignment import Assignment, ReaderFacts, assign
from nearfeed_recommender.experiments.live import Running
from nearfeed_recommender.experiments.schema import FEED_PLACE
from nearfeed_runtime.sql import write_transaction

MINUTE = 60_000_000
SEEN = 3


class Visit(NamedTuple):
    """A request of a reader at a time in microseconds, who has so many readings."""

    reader: str
    at: int
    readings: int = 0


def visits(readers: int, each: int, start: int, readings: Callable[[int], int] = lambda _: 0) -> list[Visit]:
    """A visit every minute, reader by reader."""
    return [
        Visit(f"u{number}", start + (turn * readers + number) * MINUTE // 60, readings(number))
        for turn in range(each)
        for number in range(readers)
    ]


def simulate(
    engine: Engine,
    running: Running,
    come: Iterable[Visit],
    chance: Callable[[str, Visit], float],
    *,
    took: Callable[[str], float] = lambda _: 10.0,
    kind: str = "click",
    seed: int = 1,
) -> list[tuple[Assignment, bool]]:
    """Serves the visits; `chance` is that of each post which is seen to get an action, by arm and visit."""
    draw = random.Random(seed)
    requests, items, came, found = [], [], [], []
    for number, visit in enumerate(come):
        facts = ReaderFacts(frozenset(), visit.readings)
        arm = assign(running, FEED_PLACE, visit.reader, f"{number:016x}", visit.at, facts)
        if arm is None:
            continue
        request_id = f"r{seed}-{number}"
        requests.append(_request(request_id, visit, arm, took(arm.arm)))
        acted = False
        for position in range(SEEN):
            item = f"p{position}"
            items.append(_item(request_id, item, position))
            came.append(_outcome(request_id, visit, item, "impression", arm))
            if draw.random() < chance(arm.arm, visit):
                acted = True
                came.append(_outcome(request_id, visit, item, kind, arm))
        found.append((arm, acted))
    with write_transaction(engine) as transaction:
        for table, rows in ((served_requests, requests), (served_items, items), (outcomes, came)):
            if rows:
                transaction.execute(insert(table), rows)
    return found


def act_before(engine: Engine, reader: str, at: int, clicks: int, impressions: int) -> None:
    """What a reader did before, of which the answers are no longer known."""
    rows = [
        {"user_id": reader, "item_id": f"old{n}", "kind": kind, "occurred_at": at, "attribution": "none"}
        for kind, count in (("click", clicks), ("impression", impressions))
        for n in range(count)
    ]
    with write_transaction(engine) as transaction:
        transaction.execute(insert(outcomes), rows)


def _request(request_id: str, visit: Visit, arm: Assignment, took: float) -> dict[str, Any]:
    return {
        "request_id": request_id, "section": "feed", "user_id": visit.reader, "served_at": visit.at,
        "provider": arm.provider or "personal", "config_version": 0,
        "reader": f'{{"readings": {visit.readings}}}', "experiment": arm.experiment, "arm": arm.arm,
        "propensity": arm.propensity, "took_ms": took,
    }  # fmt: skip


def _item(request_id: str, item: str, position: int) -> dict[str, Any]:
    key = {"request_id": request_id, "section": "feed", "position": position}
    return {**key, "item_id": item, "source": "s", "score": 0.0, "inputs": "{}"}


def _outcome(request_id: str, visit: Visit, item: str, kind: str, arm: Assignment) -> dict[str, Any]:
    return {
        "user_id": visit.reader, "item_id": item, "kind": kind, "occurred_at": visit.at + MINUTE,
        "request_id": request_id, "attribution": "explicit", "experiment": arm.experiment, "arm": arm.arm,
    }  # fmt: skip
