"""The record of what was shown: it reads as a `Served` that says where each post stood and what was known."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recommender.users.audiences import START, USER, empty_state, interaction

from nearfeed_contracts.event_log import Record
from nearfeed_contracts.events import Served, decode
from nearfeed_contracts.fields import to_micros
from nearfeed_contracts.topics import SERVED
from nearfeed_core.ranking_inputs import PostInputs, ReaderInputs
from nearfeed_recommender.catalog.columns import Columns, PostFacts
from nearfeed_recommender.catalog.posts import PostText
from nearfeed_recommender.experiments.assignment import Assignment
from nearfeed_recommender.experiments.bandit_features import DRAWN_BY
from nearfeed_recommender.pipeline.candidates import NEW, Candidates
from nearfeed_recommender.pipeline.query import Query
from nearfeed_recommender.pipeline.rank import Inputs
from nearfeed_recommender.serving.exposure import Exposure, ExposureRecorder
from nearfeed_recommender.serving.response import Order, Reason, Shown
from nearfeed_recommender.users.eligibility import Wish

NAMES = ("near", "walk")
COUNT = 6
NOW = START + 90_000_001
ASSIGNMENT = Assignment("e", 1, "b", 2, "other", 0.25, USER, 7)


class Log:
    """Takes records as the exposure log does."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def note(self, record: Record) -> None:
        self.records.append(record)

    def told(self) -> list[Served]:
        assert {(record.topic, record.key) for record in self.records} <= {(SERVED.name, USER)}
        return [decode(record.value or b"") for record in self.records]  # type: ignore[misc]


class NumberedUsers:
    """Popularity in which the post in row n has n users."""

    def users_of(self, rows: np.ndarray) -> np.ndarray:
        return rows.astype(np.int32)


def query_of(*read: str) -> Query:
    columns = Columns()
    columns.put(
        [PostFacts(f"p{n}", 1, f"c{n % 2}", f"a{n % 3}", (f"t{n}",), None, START + n) for n in range(COUNT)]
    )
    return Query(
        empty_state(columns).with_events(interaction(item, "read", 1) for item in read), Wish(), "s1", NOW
    )


def order_of(query: Query, ranks: Sequence[Sequence[int]], scores: Sequence[float]) -> Order:
    """All posts, the last row first, as two sources have found them."""
    found = np.array(ranks, np.int32)
    rows = np.arange(COUNT - 1, -1, -1, dtype=np.int32)
    source = np.where(found[0] > 0, 0, np.where(found[1] > 0, 1, 2)).astype(np.int32)
    source_scores = np.where(found > 0, 1 / np.maximum(found, 1), 0.0)
    candidates = Candidates(rows, np.array(scores), source, found, source_scores, (*NAMES, NEW))
    return Order(candidates, ["close_to_read", "read_by_others", "new"])


def shown_at(query: Query, order: Order, places: Sequence[int]) -> list[Shown]:
    text = PostText(1, "A post", "c0", "a0", b"{")
    rows = order.candidates.rows.tolist()
    return [Shown(place, rows[place], text, Reason("latest", "New")) for place in places]


def exposure_of(**more: Any) -> Exposure:
    return replace(Exposure("r1", None, "feed", "personal", 3, 0, 0.0), **more)


def recorded(
    query: Query, exposure: Exposure, order: Order, places: Sequence[int], inputs: Inputs | None = None
) -> list[Served]:
    log = Log()
    recorder = ExposureRecorder(log, NumberedUsers())  # type: ignore[arg-type]
    recorder.record(query, exposure, order, shown_at(query, order, places), inputs)
    return log.told()


def inputs_of(number: int, order: Order, place: int) -> PostInputs:
    """What is known of the post pN at a place."""
    ranks = {
        name: int(order.candidates.ranks[source, place])
        for source, name in enumerate(NAMES)
        if order.candidates.ranks[source, place]
    }
    return PostInputs(
        item_id=f"p{number}",
        community_id=f"c{number % 2}",
        author_id=f"a{number % 3}",
        published_at=START + number,
        tags=(f"t{number}",),
        readers=number,
        ranks=ranks,
        scores={name: 1 / rank for name, rank in ranks.items()},
    )


ranks = st.lists(st.lists(st.integers(0, 9), min_size=COUNT, max_size=COUNT), min_size=2, max_size=2)
scores = st.lists(st.floats(-1e6, 1e6), min_size=COUNT, max_size=COUNT)
places = st.lists(st.integers(0, COUNT - 1), min_size=1, unique=True).map(sorted)


@settings(max_examples=60, deadline=None)
@given(
    ranks=ranks,
    scores=scores,
    places=places,
    page=st.sampled_from([None, "home"]),
    assignment=st.sampled_from([None, ASSIGNMENT, replace(ASSIGNMENT, unit="anonymous")]),
    state=st.sampled_from(["whole", "degraded"]),
    start=st.integers(0, 3),
)
def test_a_record_reads_as_what_was_shown(
    ranks: list[list[int]],
    scores: list[float],
    places: list[int],
    page: str | None,
    assignment: Assignment | None,
    state: Any,
    start: int,
) -> None:
    query = query_of("p0", "p3")
    order = order_of(query, ranks, scores)
    exposure = exposure_of(page=page, assignment=assignment, state=state, start=start)
    (served,) = recorded(query, exposure, order, places)
    assert (served.request_id, served.user_id, served.page, served.section) == ("r1", USER, page, "feed")
    assert (served.provider, served.config_version, served.space) == ("personal", 3, "s1")
    assert (served.state, served.start) == (state, start)
    assert to_micros(served.served_at) == NOW
    assert served.took_ms is not None
    assert (served.experiment, served.arm, served.propensity) == (
        ("e", "b", 0.25) if assignment else (None, None, None)
    )
    assert served.unit_id == ("anonymous" if assignment and assignment.unit != USER else None)
    assert served.reader.get(DRAWN_BY) == (7 if assignment else None)
    assert ReaderInputs.from_json(served.reader) == replace(query.state.inputs, served_at=NOW)
    numbers = [COUNT - 1 - place for place in places]
    assert [item.item_id for item in served.items] == [f"p{number}" for number in numbers]
    assert [item.position for item in served.items] == places
    assert [item.score for item in served.items] == [scores[place] for place in places]
    assert [item.source for item in served.items] == [order.source_of(place) for place in places]
    found = [PostInputs.from_json(item.inputs) for item in served.items]
    assert found == [inputs_of(number, order, place) for number, place in zip(numbers, places, strict=True)]


PLAIN = [[1, 2, 3, 0, 0, 0], [0, 0, 1, 2, 3, 0]]
SCORES = [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def test_what_a_ranker_knew_is_recorded_and_not_what_is_known_now() -> None:
    """Of a post that it has not scored, it is what it would have known."""
    query = query_of("p0")
    order = order_of(query, PLAIN, SCORES)
    then = replace(inputs_of(4, order, 1), readers=1_000, tags=("then",), scores={"near": 9.0})
    reader = ReaderInputs(served_at=NOW - 5, readings=42, communities={"c9": 1.0})
    (served,) = recorded(query, exposure_of(), order, [1, 2], Inputs(reader, {4: then}))
    assert ReaderInputs.from_json(served.reader) == reader
    first, second = (PostInputs.from_json(item.inputs) for item in served.items)
    assert first == then
    assert second == inputs_of(3, order, 2)


def test_a_post_that_is_deleted_before_it_is_recorded_keeps_its_place() -> None:
    query = query_of("p0")
    order = order_of(query, PLAIN, SCORES)
    query.columns.put([PostFacts("p5", 2)])
    (served,) = recorded(query, exposure_of(), order, [0, 1])
    assert [item.item_id for item in served.items] == ["p5", "p4"]


@pytest.mark.parametrize(
    ("assignment", "start", "records"), [(None, 0, 0), (ASSIGNMENT, 0, 1), (ASSIGNMENT, 5, 0)]
)
def test_a_section_without_posts_is_recorded_where_an_experiment_counts_it(
    assignment: Assignment | None, start: int, records: int
) -> None:
    query = query_of()
    order = order_of(query, PLAIN, SCORES)
    found = recorded(query, exposure_of(assignment=assignment, start=start), order, [])
    assert [each.items for each in found] == [()] * records


def test_a_response_that_fails_is_recorded_where_it_belongs_to_an_experiment() -> None:
    query, log = query_of("p0"), Log()
    recorder = ExposureRecorder(log, NumberedUsers())  # type: ignore[arg-type]
    for assignment in (None, ASSIGNMENT):
        with pytest.raises(LookupError), recorder.failure_recorded(query, exposure_of(assignment=assignment)):
            raise LookupError
    (served,) = log.told()
    assert (served.state, served.items, served.experiment) == ("failed", (), "e")


@pytest.fixture
def told(served: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Served]]:
    """What the service has put on the topic since the last look."""
    found: list[Served] = []
    append = served.log.append

    def appending(records: Sequence[Record]) -> Any:
        found.extend(decode(each.value) for each in records if each.topic == SERVED.name and each.value)  # type: ignore[misc]
        return append(records)

    monkeypatch.setattr(served.log, "append", appending)

    def look() -> list[Served]:
        served.settle()
        some = found.copy()
        found.clear()
        return some

    return look


def ask(world: Any, path: str, **params: Any) -> dict[str, Any]:
    answer = world.client.get(path, params={"user_id": "u", **params})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_pages_of_a_feed_are_recorded_each_from_its_start(
    served: Any, told: Callable[[], list[Served]]
) -> None:
    ranked = [item["id"] for item in ask(served, "/v1/feed", limit=100)["items"]]
    told()
    first = ask(served, "/v1/feed", limit=4)
    hidden = ranked[5]
    served.client.put(f"/v1/users/u/controls/hide/{hidden}")
    second = ask(served, "/v1/feed", limit=4, cursor=first["next_cursor"])
    one, two = told()
    assert one.request_id == two.request_id == first["request_id"] == second["request_id"]
    assert (one.start, two.start) == (0, 4)
    for record, page in ((one, first), (two, second)):
        assert [item.item_id for item in record.items] == [item["id"] for item in page["items"]]
        assert [item.score for item in record.items] == [item["score"] for item in page["items"]]
        assert [item.source for item in record.items] == [item["source"] for item in page["items"]]
        assert [ranked[item.position] for item in record.items] == [item.item_id for item in record.items]
        assert (record.page, record.section, record.user_id) == (None, "feed", "u")
    assert [item.position for item in two.items] == [4, 6, 7, 8]


def test_sections_of_a_page_are_recorded_each_with_its_posts(
    served: Any, told: Callable[[], list[Served]]
) -> None:
    served.client.post("/v1/events", json={"user_id": "u", "item_id": "p1", "kind": "read"})
    told()
    page = ask(served, "/v1/pages/home")
    records = {record.section: record for record in told()}
    shown = {section["name"]: section for section in page["sections"] if section["items"]}
    assert records.keys() == shown.keys()
    assert len(records) > 1
    for name, record in records.items():
        assert (record.page, record.request_id) == ("home", page["request_id"])
        assert record.provider == shown[name]["provider"]
        assert [item.item_id for item in record.items] == [item["id"] for item in shown[name]["items"]]
        assert record.reader["readings"] == 1
        for item in record.items:
            assert item.inputs["published_at"] == _published_at(shown[name], item.item_id)


def _published_at(section: dict[str, Any], item_id: str) -> int:
    (post,) = (item for item in section["items"] if item["id"] == item_id)
    return to_micros(datetime.fromisoformat(post["published_at"]))
