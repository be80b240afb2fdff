"""The vocabulary of maps: how values become Nearfeed's, and how a wrong map is told."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearfeed_contracts.events import KINDS
from nearfeed_recommender.ingest.fields import InteractionFields, ItemFields
from nearfeed_recommender.ingest.map_file import MapError, read_map
from nearfeed_recommender.ingest.sources import Source, TagsSource, TimeSource
from nearfeed_recommender.ingest.topic_map import TopicMap, at_path, read_topic_map

MAP = """
items:
  topic: posts
  item_id: post.id
  community_id: board
  author_id: by
  title: title
  tags: {from: tags, separator: ","}
  published_at: {from: at, time: ms}
interactions:
  - topic: reactions
    when: {type: post_liked}
    user_id: who
    item_id: post
    kind: {constant: like}
  - topic: reactions
    when: {type: [opened, seen]}
    user_id: who
    item_id: post
    kind: {from: type, values: {opened: click, seen: read}}
"""
WRONG = {
    "an unknown kind of data": (
        "items:",
        "item:",
        "item: is unknown; here may stand items, deletions, inter",
    ),
    "an unknown field": ("title: title", "titel: title", "items.titel: is unknown; here may stand item_id, "),
    "a field that is missing": ("  title: title\n", "", "items.title: is missing"),
    "a field in a list": ("user_id: who", "user: who", "interactions[0].user: is unknown; here may stand"),
    "an unknown setting": (
        "separator",
        "seperator",
        "items.tags.seperator: is unknown; here may stand from, ",
    ),
    "a time unit of a title": ("title: title", "title: {from: t, time: s}", "items.title.time: is unknown"),
    "an unknown unit": ("time: ms", "time: ns", "items.published_at.time: input should be 's', 'ms' or 'us'"),
    "an unknown zone": (
        "time: ms",
        "zone: Mars/Olympus",
        "items.published_at.zone: 'Mars/Olympus' is no time zone",
    ),
    "an unknown event": (
        "constant: like",
        "constant: lik",
        "interactions[0].kind: 'lik' cannot stand here: input",
    ),
    "an unknown event among values": (
        "seen: read",
        "seen: red",
        "interactions[1].kind: 'red' cannot stand here",
    ),
    "no values": ("values: {opened: click, seen: read}", "values: {}", "interactions[1].kind.values: "),
    "a number for a path": (
        "user_id: who",
        "user_id: 3",
        "interactions[0].user_id: must name a column or path",
    ),
    "nothing for a path": ("user_id: who", "user_id:", "interactions[0].user_id: must name a column or path"),
    "two origins": (
        "from: type, ",
        "from: type, constant: like, ",
        "interactions[1].kind: needs either from or const",
    ),
    "a name that stands twice": (
        "title: title",
        "title: title\n  title: t",
        "line 8, column 3: 'title' stands twice",
    ),
    "no YAML": ("when: {type: post_liked}", "when: {type: post", "line 13, column 12: expected ',' or '}'"),
    "no section": ("items:", "deletions: 3\nitems:", "deletions: input should be a valid list"),
    "a topic of Nearfeed": (
        "topic: posts",
        "topic: items",
        "items.topic: items is a topic of Nearfeed's own",
    ),
    "a topic that is none": ("topic: posts", "topic: my posts", "items.topic: string should match pattern"),
    "an id with white space": (
        "user_id: who",
        "user_id: {constant: a b}",
        "interactions[0].user_id: 'a b' cannot stand",
    ),
    "a condition on a list": ("type: post_liked", "type: {a: b}", "interactions[0].when."),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "topics.yaml"


def test_a_map_that_is_right(file: Path) -> None:
    file.write_text(MAP)
    assert [path for path, _ in read_topic_map(file).rules()] == [
        "items",
        "interactions[0]",
        "interactions[1]",
    ]


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_map_is_told_with_its_place(name: str, file: Path) -> None:
    right, wrong, sentence = WRONG[name]
    assert right in MAP
    file.write_text(MAP.replace(right, wrong, 1))
    with pytest.raises(MapError) as caught:
        read_topic_map(file)
    assert str(caught.value).startswith(f"topics.yaml: {sentence}")
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "must hold names"), ("[]", "must hold names"), ("items: []", "holds no rule"), ("\xff\x00", "")],
)
def test_a_file_without_rules(text: str, sentence: str, file: Path) -> None:
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(MapError, match=f"topics.yaml: {sentence}"):
        read_topic_map(file)


def test_a_file_that_is_missing(file: Path) -> None:
    with pytest.raises(MapError, match=r"topics\.yaml: .* cannot be read \(No such file"):
        read_map(file, TopicMap)


def source(model: type[Source], **said: Any) -> Source:
    return model.model_validate({"from": "x", **said})


def value(model: type[Source], raw: Any, **said: Any) -> Any:
    return source(model, **said).value_of({"x": raw}.get)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (7, "7"),
        (Decimal("12"), "12"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (b"abc", "abc"),
        (bytearray(b"abc"), "abc"),
        ("abc", "abc"),
    ],
)
def test_ids_become_text(raw: Any, text: str) -> None:
    assert value(Source, raw) == text


def test_binary_is_no_text() -> None:
    with pytest.raises(ValueError, match="is binary"):
        value(Source, b"\xff\xfe")


@given(
    st.dictionaries(st.integers() | st.text(min_size=1) | st.booleans(), st.sampled_from(KINDS), min_size=1)
)
def test_values_are_looked_up_as_they_are_written(values: dict[Any, str]) -> None:
    by_text = {str(key): kind for key, kind in values.items()}
    for key in values:
        assert value(Source, key, values=values) == by_text[str(key)]


def test_a_value_that_the_map_does_not_have() -> None:
    with pytest.raises(ValueError, match="3 of x is not among the values of the map"):
        value(Source, 3, values={1: "read"})
    assert value(Source, 3, values={1: "read"}, default="click") == "click"
    assert value(Source, None, values={1: "read"}) is None
    assert value(Source, "", default="click") == "click"


zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Seoul"])
moments = st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1))


@given(moments.map(lambda moment: moment.replace(tzinfo=UTC)), zones)
def test_a_moment_is_the_same_however_it_is_told(moment: datetime, zone: str) -> None:
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    local = moment.astimezone(ZoneInfo(zone))
    assert value(TimeSource, moment) == moment
    assert value(TimeSource, local.isoformat()) == moment
    assert value(TimeSource, micros, time="us") == moment
    assert value(TimeSource, str(micros), time="us") == moment
    assert value(TimeSource, Decimal(micros) / 1_000_000, time="s") == moment
    assert value(TimeSource, micros // 1_000, time="ms") == moment - timedelta(microseconds=micros % 1_000)
    if not local.fold:
        assert value(TimeSource, local.replace(tzinfo=None), zone=zone) == moment
        assert value(TimeSource, str(local.replace(tzinfo=None)), zone=zone) == moment


@given(moments, st.integers(-12, 12))
def test_the_zone_of_the_map_is_for_times_that_have_none(moment: datetime, hours: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert value(TimeSource, aware.isoformat(), zone="Asia/Seoul") == aware


def test_a_date_is_its_midnight() -> None:
    assert value(TimeSource, date(2024, 1, 1), zone="Europe/Berlin") == datetime(2023, 12, 31, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (datetime(2024, 1, 1), "names no time zone; say in the map which it is"),
        ("2024-01-01", "names no time zone"),
        ("soon", "'soon' is no time"),
        ("--5", "'--5' is no time"),
        ("-", "'-' is no time"),
        ("1.2.3", "'1.2.3' is no time"),
        (True, "True is no time"),
        ([1], "is no time"),
        (float("nan"), "nan is no time"),
        (10**30, "is no time in s since 1970"),
        ("9999-12-31T23:59:59-10:00", "lies outside the years"),
    ],
)
def test_what_is_no_time(raw: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        value(TimeSource, raw)


@given(st.text(alphabet="-+.0159eE_ \u0661\u00b2", max_size=8))
def test_any_text_is_a_time_or_a_fault(raw: str) -> None:
    try:
        found = value(TimeSource, raw, zone="UTC")
    except ValueError:
        return
    assert found is None or found.tzinfo == UTC


@pytest.mark.parametrize("error", [InvalidOperation("bad"), TypeError("bad"), ValueError("bad")])
def test_whatever_a_source_raises_is_the_fault_of_its_field(error: Exception) -> None:
    fields = InteractionFields.model_validate(
        {"user_id": "a", "item_id": "a", "kind": {"constant": "read"}, "occurred_at": "a"}
    )

    def failing(_name: str) -> Any:
        raise error

    with pytest.raises(ValueError, match="user_id: "):
        fields.values_of(failing)


def test_tags() -> None:
    assert value(TagsSource, ["a", 2]) == ["a", "2"]
    assert value(TagsSource, "a| b |") == ["a", "b"]
    assert value(TagsSource, "a, b", separator=",") == ["a", "b"]
    assert value(TagsSource, '["a", 2]', json=True) == ["a", "2"]
    assert value(TagsSource, None) is None
    for raw, said in [("a", {"json": True}), ("{}", {"json": True}), (3, {})]:
        with pytest.raises(ValueError, match="is no"):
            value(TagsSource, raw, **said)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab01.", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values, st.lists(st.sampled_from(["a", "b", "0", "1", "-1", ""]), min_size=1, max_size=4))
def test_a_path_finds_what_steps_find(body: Any, steps: list[str]) -> None:
    found = body
    for step in steps:
        try:
            found = found[int(step)] if isinstance(found, list) and step in "01" and step else found[step]
        except (KeyError, IndexError, TypeError):
            found = None
    assert at_path(body, ".".join(steps)) == found


ITEM = ItemFields.model_validate(
    {
        "item_id": "a",
        "community_id": "b",
        "author_id": "a.0",
        "title": "b.a",
        "body": "a",
        "tags": "b",
        "published_at": {"from": "a", "time": "ms", "zone": "UTC"},
    }
)
INTERACTION = InteractionFields.model_validate(
    {
        "user_id": "a",
        "item_id": "b",
        "kind": {"from": "a", "values": {"1": "like"}, "default": "read"},
        "occurred_at": {"from": "b", "time": "us"},
        "value": "a",
    }
)


@given(json_values)
def test_whatever_a_message_holds_it_has_values_or_one_fault(body: Any) -> None:
    for fields in (ITEM, INTERACTION):
        try:
            found, fault = fields.values_of(lambda path: at_path(body, path)), None
        except ValueError as error:
            found, fault = {}, str(error)
        assert fault is None or fault.split(":")[0] in fields.sources()
        assert found.keys() <= fields.sources().keys()
        assert None not in found.values()
