"""An app's own topics: which messages become which events, dead letters, and effects that hold."""

import base64
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from nearfeed_contracts.event_log import Message, Record
from nearfeed_contracts.events import (
    Event,
    Interaction,
    Item,
    ItemDeleted,
    UnreadableEventError,
    UserErased,
    decode,
)
from nearfeed_contracts.fields import from_micros, now_micros
from nearfeed_contracts.tables import interactions, items, memberships, outbox, positions, reader_controls
from nearfeed_contracts.topics import record_of
from nearfeed_recommender.app.bootstrap import bootstrap
from nearfeed_recommender.catalog.writes import ItemDraft, delete_items, put_items
from nearfeed_recommender.ingest.consumer import GROUP
from nearfeed_recommender.ingest.map_file import MapError
from nearfeed_recommender.ingest.topic_map import UNMAPPED, events_of, read_topic_map, version_of
from nearfeed_recommender.users.user_vectors import stored_vector
from nearfeed_runtime.consume import Consumer
from nearfeed_runtime.sql import committed, read_connection

POSTS = "community.posts"
ACTIONS = "community.actions"
MAP = """
items:
  topic: community.posts
  when: {type: [created, edited]}
  item_id: post.id
  community_id: post.board
  author_id: post.author.id
  title: post.title
  tags: post.labels
  published_at: {from: post.at, time: ms}
deletions:
  - topic: community.posts
    when: {type: removed}
    item_id: post.id
  - topic: community.posts
    when: tombstone
    item_id: $key
interactions:
  - topic: community.actions
    when: {type: liked}
    user_id: member
    item_id: post
    kind: {constant: like}
  - topic: community.actions
    when: {type: viewed, seconds_over: true}
    user_id: member
    item_id: post
    kind: {constant: read}
    occurred_at: {from: at, time: ms}
memberships:
  - topic: community.actions
    when: {type: [joined, left]}
    user_id: member
    community_id: board
    joined: {from: type, values: {joined: true, left: false}}
controls:
  topic: community.actions
  when: {type: [blocked, unblocked]}
  user_id: member
  control: {constant: block}
  target: whom
  active: {from: type, values: {blocked: true, unblocked: false}}
"""
NOW = 1_700_000_000_000_000


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    file = tmp_path / "topics.yaml"
    file.write_text(MAP)
    return file


@pytest.fixture
def mapped(served: Any, map_file: Path) -> Iterator[Any]:
    """A served world with a topic map, on topics that have one message each that means nothing."""
    served.log.append([Record(POSTS, "", b'{"type": "hello"}'), Record(ACTIONS, "", b'{"type": "hello"}')])
    served.settings = served.settings.model_copy(update={"topic_map": str(map_file)})
    served.restart()
    served.settle()
    return served


def say(world: Any, topic: str, key: str = "", **body: Any) -> None:
    world.log.append([Record(topic, key, orjson.dumps(body))])


def rows_of(world: Any, table: Any) -> list[Any]:
    with read_connection(world.engine) as connection:
        return list(connection.execute(select(table)))


def on(world: Any, topic: str) -> list[Event]:
    subscription = world.log.subscribe([topic], "test", lambda _: 0)
    messages = subscription.poll(10_000, 0.0)
    subscription.close()
    return [decode(message.value) for message in messages if message.value]


def dead_of(world: Any, topic: str) -> list[dict[str, Any]]:
    subscription = world.log.subscribe([f"{topic}.dead"], "test", lambda _: 0)
    messages = subscription.poll(10_000, 0.0)
    subscription.close()
    return [orjson.loads(message.value) for message in messages]


def test_a_like_on_the_apps_topic_changes_the_reader(
    mapped: Any, random_vector: Callable[[int], np.ndarray]
) -> None:
    say(mapped, ACTIONS, type="liked", member=7, post="p3")
    say(mapped, ACTIONS, type="viewed", seconds_over=False, member=7, post="p4", at=NOW // 1_000)
    mapped.settle()
    assert [(row.user_id, row.item_id) for row in rows_of(mapped, interactions)] == [("7", "p3")]
    with read_connection(mapped.engine) as connection:
        vector = stored_vector(connection, "s1", "7")
    assert vector is not None
    np.testing.assert_allclose(vector, random_vector(3), atol=1e-6)


def test_memberships_and_controls_are_rows_in_order(mapped: Any) -> None:
    say(mapped, ACTIONS, type="joined", member=7, board="c1")
    say(mapped, ACTIONS, type="joined", member=7, board="knitting")
    say(mapped, ACTIONS, type="joined", member=8, board="c1")
    say(mapped, ACTIONS, type="left", member=8, board="c1")
    say(mapped, ACTIONS, type="blocked", member=7, whom="bob")
    say(mapped, ACTIONS, type="blocked", member=7, whom="eve")
    say(mapped, ACTIONS, type="unblocked", member=7, whom="bob")
    mapped.settle()
    assert {tuple(row)[:2] for row in rows_of(mapped, memberships)} == {("7", "c1"), ("7", "knitting")}
    assert [(r.user_id, r.control, r.target) for r in rows_of(mapped, reader_controls)] == [
        ("7", "block", "eve")
    ]
    joined = [event for event in on(mapped, "memberships") if getattr(event, "joined", False)]
    assert len(joined) == 2, "told on Nearfeed's own topic too; 8 had left before it was looked at"
    assert not rows_of(mapped, outbox)


def test_a_takedown_holds_against_messages_from_before_it(mapped: Any) -> None:
    draft = ItemDraft(item_id="5", community_id="c1", author_id="3", title="Bad")
    committed(mapped.engine, lambda t: put_items(t, [draft], create_communities=True))
    post = {"id": 5, "board": "c1", "author": {"id": 3}, "title": "Worse", "at": NOW // 1_000}
    say(mapped, POSTS, type="edited", post=post)
    time.sleep(0.005)
    committed(mapped.engine, lambda t: delete_items(t, ["5"]))
    (taken_down,) = [row for row in rows_of(mapped, items) if row.item_id == "5"]
    mapped.settle()
    (told,) = [event for event in on(mapped, "items") if isinstance(event, Item) and event.title == "Worse"]
    assert told.version < taken_down.version


def test_posts_go_to_nearfeeds_own_topic(mapped: Any) -> None:
    post = {
        "id": 5,
        "board": "c1",
        "author": {"id": 3},
        "title": "Hello",
        "labels": ["x"],
        "at": NOW // 1_000,
    }
    say(mapped, POSTS, type="created", post=post)
    say(mapped, POSTS, type="edited", post=post | {"title": "Hello again"})
    say(mapped, POSTS, type="removed", post={"id": 6})
    mapped.log.append([Record(POSTS, "9", None)])
    mapped.settle()
    first, second, removed, buried = on(mapped, "items")[-4:]
    assert isinstance(first, Item)
    assert (first.item_id, first.author_id, first.tags, first.published_at) == (
        "5",
        "3",
        ("x",),
        from_micros(NOW),
    )
    assert isinstance(second, Item)
    assert (second.title, second.version > first.version) == ("Hello again", True)
    assert isinstance(removed, ItemDeleted)
    assert isinstance(buried, ItemDeleted)
    assert (removed.item_id, buried.item_id) == ("6", "9")
    assert removed.version > second.version


def test_what_cannot_be_mapped_is_a_dead_letter_and_stops_nothing(mapped: Any) -> None:
    say(mapped, ACTIONS, key="k", type="liked", post="p3")
    mapped.log.append([Record(ACTIONS, "", b"\xff{")])
    say(mapped, ACTIONS, type="viewed", seconds_over=True, member=1, post="p1", at="soon")
    say(mapped, ACTIONS, type="viewed", seconds_over=True, member=1, post="p1", at=NOW * 100)
    say(mapped, ACTIONS, type="viewed", seconds_over=True, member=1, post="p1", at="--5")
    say(mapped, ACTIONS, type="joined", member="two words", board="c1")
    say(mapped, ACTIONS, type="liked", member=1, post="p1")
    mapped.settle()
    told = dead_of(mapped, ACTIONS)
    assert [letter["reason"] for letter in told] == [
        "interactions[0].user_id: member is missing or empty",
        "the message is no JSON (str is not valid UTF-8: surrogates not allowed)",
        "interactions[1].occurred_at: 'soon' is no time",
        f"interactions[1].occurred_at: {NOW * 100} is no time in ms since 1970",
        "interactions[1].occurred_at: '--5' is no time",
        "memberships.user_id: must not hold white space or control characters",
    ]
    assert orjson.loads(base64.b64decode(told[0]["value"])) == {"type": "liked", "post": "p3"}
    assert {letter["topic"] for letter in told} == {ACTIONS}
    assert len(rows_of(mapped, interactions)) == 1


def test_a_message_for_no_rule_is_counted_and_passed_over(mapped: Any) -> None:
    before = UNMAPPED.labels(ACTIONS)._value.get()
    say(mapped, ACTIONS, type="waved", member=1)
    mapped.log.append([Record(ACTIONS, "", b"[1]"), Record(ACTIONS, "", None)])
    mapped.settle()
    assert UNMAPPED.labels(ACTIONS)._value.get() == before + 3
    assert not dead_of(mapped, ACTIONS)


def test_an_erasure_holds_against_a_replay(mapped: Any) -> None:
    say(mapped, ACTIONS, type="liked", member=7, post="p3")
    say(mapped, ACTIONS, type="joined", member=7, board="c1")
    say(mapped, ACTIONS, type="blocked", member=7, whom="bob")
    mapped.settle()
    assert mapped.client.delete("/v1/users/7").status_code == 202
    mapped.settle()
    with mapped.engine.begin() as transaction:
        transaction.execute(positions.delete().where(positions.c.consumer_group == GROUP))
    mapped.restart()
    mapped.settle()
    for table in (interactions, memberships, reader_controls):
        assert not [row for row in rows_of(mapped, table) if row.user_id == "7"]
    say(mapped, ACTIONS, type="joined", member=7, board="c1")
    mapped.settle()
    assert len(rows_of(mapped, memberships)) == 1, "who comes back is a new reader"


def test_what_an_app_told_before_an_erasure_is_gone_though_it_came_between(mapped: Any) -> None:
    say(mapped, ACTIONS, type="joined", member=7, board="c1")
    say(mapped, ACTIONS, type="blocked", member=7, whom="bob")
    say(mapped, ACTIONS, type="blocked", member=8, whom="7")
    assert mapped.client.delete("/v1/users/7").status_code == 202
    while mapped.service.consumers[-1].run_once(0):
        pass
    assert [row.user_id for row in rows_of(mapped, reader_controls)] == ["7", "8"]
    for _ in range(2):
        mapped.settle()
        assert rows_of(mapped, memberships) == rows_of(mapped, reader_controls) == []
        with mapped.engine.begin() as transaction:
            transaction.execute(positions.delete().where(positions.c.consumer_group == GROUP))
        mapped.restart()


def test_a_reader_may_write_nearfeeds_own_topics_beside_it(mapped: Any) -> None:
    mapped.log.append([record_of(Interaction(user_id="9", item_id="p1", kind="read"))])
    say(mapped, ACTIONS, type="liked", member=9, post="p1")
    mapped.settle()
    (row,) = rows_of(mapped, interactions)
    assert row.read_at is not None
    assert row.like_at is not None


class Killed(BaseException):
    """The end of a process."""


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    actions=st.lists(
        st.tuples(
            st.sampled_from(["liked", "joined", "left", "noise"]), st.integers(0, 3), st.integers(0, 3)
        ),
        min_size=1,
        max_size=12,
    ),
    breaks=st.lists(st.integers(0, 2), max_size=4),
)
def test_whenever_the_process_ends_the_rows_are_those_of_the_messages(
    mapped: Any, actions: list[tuple[str, int, int]], breaks: list[int]
) -> None:
    """The process ends after the log has the events and before SQL has the position, or after both."""
    run = f"r{next(_NUMBERS)}-"
    for kind, member, number in actions:
        say(mapped, ACTIONS, type=kind, member=f"{run}{member}", post=f"p{number}", board=f"c{number % 2}")
    consumer = mapped.service.consumers[-1]
    for after in breaks:
        _killed_run(consumer, after)
        mapped.restart()
        consumer = mapped.service.consumers[-1]
    mapped.settle()
    liked = {(f"{run}{member}", f"p{number}") for kind, member, number in actions if kind == "liked"}
    last = {(member, number % 2): kind for kind, member, number in actions if kind in ("joined", "left")}
    joined = {(f"{run}{member}", f"c{number}") for (member, number), kind in last.items() if kind == "joined"}
    assert {
        (r.user_id, r.item_id) for r in rows_of(mapped, interactions) if r.user_id.startswith(run)
    } == liked
    assert {tuple(r)[:2] for r in rows_of(mapped, memberships) if r.user_id.startswith(run)} == joined


_NUMBERS = itertools.count()


def _killed_run(consumer: Consumer, after: int) -> None:
    apply, done = consumer._apply, iter(range(100))

    def killed(*arguments: Any) -> Any:
        moved = apply(*arguments)
        if next(done) == after:
            raise Killed
        return moved

    consumer._batch = 3
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(consumer, "_apply", killed)
        try:
            while consumer.run_once(0):
                pass
        except Killed:
            return


def test_a_topic_that_is_not_there_is_told_at_the_start(world: Any, map_file: Path) -> None:
    world.log.append([Record(POSTS, "", b"{}")])
    settings = world.settings.model_copy(update={"topic_map": str(map_file)})
    with pytest.raises(MapError) as caught:
        bootstrap(settings, engine=world.engine, log=world.log, store=world.store)
    assert str(caught.value) == (
        f"topics.yaml: interactions[0].topic: the log has no topic {ACTIONS}; make it, or correct the name."
    )


def message(body: Any, *, offset: int = 0, timestamp: int = NOW, partition: int = 0) -> Message:
    return Message(ACTIONS, partition, offset, "", json.dumps(body).encode(), timestamp)


def test_the_same_message_has_the_same_event_id_and_no_other_has(map_file: Path) -> None:
    rules = list(read_topic_map(map_file).rules())
    like = {"type": "liked", "member": 1, "post": 2}
    ids = [
        events_of(rules, message(like, offset=offset, partition=partition))[0].event_id
        for offset, partition in [(0, 0), (0, 0), (1, 0), (0, 1)]
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_every_rule_that_fits_gives_an_event(map_file: Path) -> None:
    map_file.write_text(
        MAP.replace("{type: viewed, seconds_over: true}", "{type: liked}").replace(
            "{from: at, time: ms}", "$time"
        )
    )
    rules = list(read_topic_map(map_file).rules())
    found = events_of(rules, message({"type": "liked", "member": 1, "post": 2}))
    assert [(event.kind, event.occurred_at) for event in found if isinstance(event, Interaction)] == [
        ("like", from_micros(NOW)),
        ("read", from_micros(NOW)),
    ]


@given(
    times=st.lists(
        st.tuples(st.integers(1, 4 * 10**12), st.integers(0, 2**20 - 1)), min_size=2, max_size=2, unique=True
    ),
    block=st.integers(0, 2**20),
)
def test_a_later_message_is_a_higher_version(times: list[tuple[int, int]], block: int) -> None:
    """Later by its milliseconds, and among those of one by its offset."""
    versions = [
        version_of(message({}, offset=(block << 20) + offset, timestamp=ms * 1_000 + 999))
        for ms, offset in times
    ]
    assert (versions[0] < versions[1]) == (times[0] < times[1])
    assert max(versions) <= 2**62


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
types = st.sampled_from(["liked", "viewed", "joined", "left", "blocked", "unblocked", "other"])


@given(
    body=st.fixed_dictionaries(
        {"type": types},
        optional={name: anything for name in ("member", "post", "board", "at", "whom", "seconds_over")},
    )
    | anything,
    timestamp=st.sampled_from([NOW, -1_000, 0, 2**62, now_micros()]),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_message_is_events_or_one_reason(map_file: Path, body: Any, timestamp: int) -> None:
    rules = list(read_topic_map(map_file).rules())
    try:
        found, reason = events_of(rules, message(body, timestamp=timestamp)), None
    except UnreadableEventError as error:
        found, reason = [], str(error)
    assert reason is None or reason.split(".")[0] in {path for path, _ in rules}
    assert all(not isinstance(event, UserErased) for event in found)
    kind = body.get("type") if isinstance(body, dict) else None
    if kind == "other" or not isinstance(body, dict):
        assert (found, reason) == ([], None)
    if kind in ("liked", "joined", "left", "blocked", "unblocked"):
        assert found or reason
