"""Outcomes against their definition: in any order, told twice or not at all, they are the same rows."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, StaticPool, create_engine, insert, select

from nearfeed_contracts.events import Event, Impression, Interaction, Served, ServedItem
from nearfeed_contracts.fields import from_micros, now_micros, to_micros
from nearfeed_contracts.tables import experiments, metadata, outcomes, reader_units
from nearfeed_recommender.exposure_log import store as served
from nearfeed_recommender.exposure_log.attribution import Attributed
from nearfeed_recommender.exposure_log.outcomes import AttributionSettings, settle_reader
from nearfeed_recommender.exposure_log.request_ids import sign_request_id

SECRET = b"a test's secret"
MINUTE = 60_000_000
WINDOW = 3 * MINUTE
BASE = now_micros() - 24 * 60 * MINUTE
JOINING = AttributionSettings(SECRET, WINDOW)
USERS, ITEMS = ["u", "v"], ["p", "q"]
ARMS = {(1, 0): ("colour", "red"), (1, 1): ("colour", "blue"), (1, 2): ("colour", "holdout")}


Place = tuple[list[str], str | None, str | None]  # posts, experiment, arm
Key = tuple[str, str, str, int]


def token(user: str, number: int, *arms: tuple[int, int]) -> str:
    return sign_request_id(SECRET, user, BASE, 1, arms, number.to_bytes(8, "big"))


# Each answer by its id: to whom, the arms in its id, its sections with posts, experiment and arm.
FEED = token("u", 1, (1, 0))
PAGE = token("u", 2, (1, 1), (7, 0))
OTHERS = token("v", 3, (1, 2))
MERGED = token("anonymous", 4, (1, 0))
UNHEARD = token("v", 5, (9, 9))
ANSWERS: dict[str, tuple[str, list[tuple[int, int]], dict[str, Place]]] = {
    FEED: ("u", [(1, 0)], {"feed": (["p"], "colour", "red")}),
    PAGE: ("u", [(1, 1), (7, 0)], {"top": (["p"], "colour", "blue"), "rest": (["q"], None, None)}),
    OTHERS: ("v", [(1, 2)], {"feed": ([], "colour", "holdout")}),
    MERGED: ("anonymous", [(1, 0)], {"feed": (["q"], "colour", "red")}),
    UNHEARD: ("v", [(9, 9)], {}),
}
IDS = [*ANSWERS, "made-up"]
READERS_OF = {"u": {"u"}, "v": {"v"}, "anonymous": {"u"}}  # u was anonymous once

moments = st.integers(0, 8).map(lambda minute: from_micros(BASE + minute * MINUTE))
impressions = st.builds(
    Impression,
    user_id=st.sampled_from(USERS),
    item_id=st.sampled_from(ITEMS),
    request_id=st.sampled_from(IDS),
    occurred_at=moments,
)


@st.composite
def actions(draw: st.DrawFn) -> Interaction:
    kind = draw(st.sampled_from(["click", "rating"]))
    return Interaction(
        user_id=draw(st.sampled_from(USERS)),
        item_id=draw(st.sampled_from(ITEMS)),
        kind=kind,  # type: ignore[arg-type]
        value=draw(st.sampled_from([1.0, 4.0])) if kind == "rating" else None,
        request_id=draw(st.sampled_from([None, None, None, *IDS])),
        occurred_at=draw(moments),
    )


def sections() -> list[Served]:
    return [
        Served(
            request_id=request_id,
            user_id=user,
            served_at=from_micros(BASE),
            section=section,
            provider="personal",
            config_version=1,
            experiment=experiment,
            arm=arm,
            items=tuple(
                ServedItem(item_id=post, position=place, source="s", score=0.0)
                for place, post in enumerate(posts)
            ),
        )
        for request_id, (user, _, by_section) in ANSWERS.items()
        for section, (posts, experiment, arm) in by_section.items()
    ]


class Definition:
    """The rows by their definition: for each thing told, look at all the others."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.heard: dict[str, dict[str, Place]] = {}
        self.told: dict[Key, list[Impression | Interaction]] = {}
        for event in events:
            if isinstance(event, Served):
                place = [item.item_id for item in event.items], event.experiment, event.arm
                self.heard.setdefault(event.request_id, {})[event.section] = place
            elif isinstance(event, Impression | Interaction):
                kind = "impression" if isinstance(event, Impression) else event.kind
                key = (event.user_id, event.item_id, kind, to_micros(event.occurred_at))
                self.told.setdefault(key, []).append(event)

    def check(self, user: str, item: str, request_id: str) -> tuple[str, str | None, str | None]:
        if request_id not in ANSWERS or user not in READERS_OF[ANSWERS[request_id][0]]:
            return "invalid_request_id", None, None
        if request_id not in self.heard:
            arms = ANSWERS[request_id][1]
            return (
                ("explicit", *ARMS.get(arms[0], (None, None))) if len(arms) == 1 else ("explicit", None, None)
            )
        for posts, experiment, arm in self.heard[request_id].values():
            if item in posts:
                return "explicit", experiment, arm
        return "not_in_response", None, None

    def own(self, key: Key) -> str | None:
        ids = {event.request_id for event in self.told[key] if event.request_id}
        genuine = {each for each in ids if self.check(key[0], key[1], each)[0] != "invalid_request_id"}
        return max(genuine or ids, default=None)

    def attributed(self, key: Key) -> Attributed:
        user, item, _, at = key
        if (request_id := self.own(key)) is not None:
            attribution, experiment, arm = self.check(user, item, request_id)
            return Attributed(request_id, attribution, None, experiment, arm)  # type: ignore[arg-type]
        fitting = [
            (other[3], shown)
            for other in self.told
            if other[:3] == (user, item, "impression") and at - WINDOW <= other[3] <= at
            if (shown := self.own(other)) and self.check(user, item, shown)[0] == "explicit"
        ]
        if not fitting:
            return Attributed(None, "unattributed")
        seen_at, shown = max(fitting)
        return Attributed(shown, "view_through", seen_at, *self.check(user, item, shown)[1:])

    def rows(self) -> list[tuple[Any, ...]]:
        rows = []
        for key, some in self.told.items():
            values = [one.value for one in some if isinstance(one, Interaction) and one.value is not None]
            rows.append((*key, min(values, default=None), *self.attributed(key)))
        return sorted(rows)


def take_in(transaction: Connection, events: Sequence[Event], batch: int) -> None:
    """What the consumer does with batches."""
    handlers = served.handlers(JOINING)
    for start in range(0, len(events), batch):
        in_turn = sorted(events[start : start + batch], key=lambda event: type(event).__name__)
        for kind, run in groupby(in_turn, type):
            some = list(run)
            for handle in handlers[kind]:
                handle(transaction, some)


def rows_of(transaction: Connection) -> list[tuple[Any, ...]]:
    names = ("user_id", "item_id", "kind", "occurred_at", "value", *Attributed._fields)
    columns = [outcomes.c[name] for name in names]
    return sorted(tuple(row) for row in transaction.execute(select(*columns)))


def attributions(transaction: Connection) -> list[str]:
    return list(transaction.scalars(select(outcomes.c.attribution)))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """A reader who was anonymous, and an experiment of number 1."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    metadata.create_all(engine)
    experiment = {
        "name": "colour",
        "number": 1,
        "revision": 1,
        "state": "running",
        "document": orjson.dumps({"arms": {"red": None, "blue": "other"}}).decode(),
        "traffic": "{}",
        "created_at": 0,
    }
    with engine.begin() as transaction:
        transaction.execute(insert(experiments).values(**experiment))
        transaction.execute(insert(reader_units).values(user_id="u", unit_id="anonymous", merged_at=0))
    yield engine
    engine.dispose()


@given(
    events=st.lists(st.one_of(impressions, actions()), max_size=14),
    heard=st.sets(st.sampled_from(range(len(sections())))),
    batch=st.integers(1, 6),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_any_order_and_repetition_ends_in_the_rows_of_the_definition(
    engine: Engine, events: list[Event], heard: set[int], batch: int, data: st.DataObject
) -> None:
    came = [*events, *(section for place, section in enumerate(sections()) if place in heard)]
    again = data.draw(st.lists(st.sampled_from(came), max_size=6)) if came else []
    order = data.draw(st.permutations([*came, *again]))
    with engine.connect() as transaction:
        take_in(transaction, order, batch)
        assert rows_of(transaction) == Definition(came).rows()


def test_a_reader_who_is_found_to_be_an_anonymous_one_gets_their_answers(engine: Engine) -> None:
    at = from_micros(BASE)
    click = Interaction(user_id="w", item_id="q", kind="click", occurred_at=at, request_id=MERGED)
    with engine.connect() as transaction:
        take_in(transaction, [click], 1)
        assert attributions(transaction) == ["invalid_request_id"]
        transaction.execute(insert(reader_units).values(user_id="w", unit_id="anonymous", merged_at=1))
        settle_reader(JOINING, transaction, "w")
        (row,) = rows_of(transaction)
        assert Attributed(*row[5:]) == Attributed(MERGED, "explicit", None, "colour", "red")


def test_what_is_older_than_records_of_readers_are_kept_makes_no_row(engine: Engine) -> None:
    old = from_micros(now_micros() - 31 * 24 * 60 * MINUTE)
    with engine.connect() as transaction:
        take_in(transaction, [Interaction(user_id="u", item_id="p", kind="click", occurred_at=old)], 1)
        assert rows_of(transaction) == []
