"""The ledger of what was served: every post of every answer, with what was known of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import func, select, update

from nearfeed_contracts.event_log import LogUnavailableError
from nearfeed_contracts.events import Served, ServedItem
from nearfeed_contracts.fields import from_micros, to_micros
from nearfeed_contracts.tables import outcomes, served_items, served_requests
from nearfeed_contracts.topics import record_of
from nearfeed_core.ranking_inputs import PostInputs, ReaderInputs
from nearfeed_recommender.exposure_log import store as ledger
from nearfeed_recommender.serving import exposure
from nearfeed_runtime.sql import read_connection, write_transaction


def rows(world: Any, table: Any) -> list[Any]:
    with read_connection(world.engine) as connection:
        return list(connection.execute(select(table).order_by(*table.primary_key)))


def read(world: Any, user_id: str, *items: str) -> None:
    for item in items:
        event = {"user_id": user_id, "item_id": item, "kind": "read"}
        assert world.client.post("/v1/events", json=event).status_code == 202
    world.settle()


def feed(world: Any, user_id: str, **params: Any) -> dict[str, Any]:
    return dict(world.client.get("/v1/feed", params={"user_id": user_id, "limit": 5, **params}).json())


def test_pages_of_a_feed_are_kept_with_position_source_score_and_inputs(served: Any) -> None:
    read(served, "u", "p4", "p8")
    first = feed(served, "u")
    second = feed(served, "u", cursor=first["next_cursor"])
    served.settle()
    (request,) = [row for row in rows(served, served_requests) if row.user_id == "u"]
    assert (request.request_id, request.section, request.page) == (first["request_id"], "feed", None)
    assert (request.space, request.config_version, request.provider) == ("s1", 0, "personal")
    items = rows(served, served_items)
    shown = [*first["items"], *second["items"]]
    assert [row.position for row in items] == list(range(10))
    assert [(row.item_id, row.source) for row in items] == [(item["id"], item["source"]) for item in shown]
    assert [row.score for row in items] == pytest.approx([item["score"] for item in shown])
    reader = ReaderInputs.from_json(orjson.loads(request.reader))
    assert (reader.readings, dict(reader.communities)) == (2, {"c0": 1.0})
    for row, item in zip(items, shown, strict=True):
        inputs = PostInputs.from_json(orjson.loads(row.inputs))
        assert (inputs.item_id, inputs.community_id) == (item["id"], item["community_id"])
        assert from_micros(inputs.published_at) == datetime.fromisoformat(item["published_at"])
        assert item["source"] in inputs.ranks


def test_a_page_that_is_asked_for_again_takes_no_click_from_what_it_lacks_now(served: Any) -> None:
    cursor = feed(served, "u")["next_cursor"]
    before = feed(served, "u", cursor=cursor)
    clicked = before["items"][0]["id"]
    event = {"user_id": "u", "item_id": clicked, "kind": "read", "request_id": before["request_id"]}
    assert served.client.post("/v1/events", json=event).status_code == 202
    served.settle()
    after = feed(served, "u", cursor=cursor)
    served.settle()
    assert clicked not in [item["id"] for item in after["items"]]
    shown = [item["id"] for page in (before, after) for item in page["items"]]
    assert {row.item_id for row in rows(served, served_items)} >= set(shown)
    assert [(row.item_id, row.attribution) for row in rows(served, outcomes)] == [(clicked, "explicit")]


def test_the_row_of_a_feed_is_that_of_its_first_page_also_where_its_first_post_was_passed_over(
    served: Any,
) -> None:
    def page(start: int, provider: str) -> Served:
        item = ServedItem(item_id="p1", position=start + 1, source="s", score=0.0)
        asked = {"request_id": "r", "user_id": "u", "served_at": datetime.now(UTC), "section": "feed"}
        return Served(**asked, provider=provider, config_version=0, start=start, items=(item,))

    served.log.append([record_of(page(5, "second")), record_of(page(0, "first"))])
    served.settle()
    assert [row.provider for row in rows(served, served_requests)] == ["first"]


def test_what_is_served_after_an_erasure_stays(served: Any) -> None:
    feed(served, "u")
    served.settle()
    assert served.client.delete("/v1/users/u").status_code == 202
    later = feed(served, "u")["request_id"]
    served.answers.feed.exposures.log.flush()
    served.service.consumers[1].run_once(0)
    served.settle()
    assert [row.request_id for row in rows(served, served_requests)] == [later]


def test_a_replay_changes_nothing_and_an_erased_reader_is_gone_for_good(served: Any) -> None:
    read(served, "u", "p4")
    feed(served, "u")
    feed(served, "v")
    served.settle()
    before = rows(served, served_requests), rows(served, served_items)
    with write_transaction(served.engine) as transaction:
        from nearfeed_contracts.tables import positions

        transaction.execute(
            update(positions).where(positions.c.consumer_group == ledger.GROUP).values(next_offset=0)
        )
    served.restart()
    served.settle()
    assert (rows(served, served_requests), rows(served, served_items)) == before
    assert served.client.delete("/v1/users/u").status_code == 202
    served.settle()
    assert {row.user_id for row in rows(served, served_requests)} == {"v"}
    with write_transaction(served.engine) as transaction:
        transaction.execute(
            update(positions).where(positions.c.consumer_group == ledger.GROUP).values(next_offset=0)
        )
    served.restart()
    served.settle()
    assert {row.user_id for row in rows(served, served_requests)} == {"v"}
    with read_connection(served.engine) as connection:
        assert connection.scalar(select(func.count()).select_from(served_items)) == len(
            feed(served, "v")["items"]
        )


def test_without_the_log_notes_wait_and_nothing_is_lost(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = served.answers.feed.exposures.log
    append = served.log.append

    def away(_: object) -> None:
        raise LogUnavailableError("the log is away")

    with monkeypatch.context() as patch:
        patch.setattr(served.log, "append", away)
        feed(served, "u")
        with pytest.raises(LogUnavailableError):
            notes.flush()
        feed(served, "v")
    assert served.log.append == append
    assert notes.flush() == 2
    served.settle()
    assert {row.user_id for row in rows(served, served_requests)} == {"u", "v"}


def test_what_cannot_be_told_is_counted_and_keeps_nothing_else_back(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost() -> float:
        return REGISTRY.get_sample_value("nearfeed_served_lost_total", {"reason": "failed"}) or 0.0

    notes = served.answers.feed.exposures.log
    before = lost()
    with monkeypatch.context() as patch:
        patch.setattr(exposure, "_record", lambda *_: 1 / 0)
        assert feed(served, "u")["items"]
    feed(served, "u")
    assert notes.flush() == 1
    assert lost() == before + 1


def test_what_is_older_than_thirty_days_is_pruned(served: Any) -> None:
    for reader in ("old", "young"):
        feed(served, reader)
    served.settle()
    long_ago = to_micros(datetime.now(UTC) - timedelta(days=31))
    with write_transaction(served.engine) as transaction:
        old = served_requests.c.user_id == "old"
        transaction.execute(update(served_requests).where(old).values(served_at=long_ago))
    assert ledger.prune(served.engine) == 1
    assert ledger.prune(served.engine) == 0
    assert {row.user_id for row in rows(served, served_requests)} == {"young"}
    assert len(rows(served, served_items)) == 5
