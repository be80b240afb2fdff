"""The feed, as a person uses it."""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect
from sqlalchemy import select
from tests.page.page_world import PageWorld

from nearfeed_contracts.tables import interactions, items, outcomes, reader_controls
from nearfeed_runtime.sql import read_connection

pytestmark = pytest.mark.browser


def card_of(page: Page, item_id: str) -> Locator:
    return page.locator(f'.card[data-item="{item_id}"]')


def feed_ids(world: PageWorld, reader: str) -> list[str]:
    answer = world.client.get("/v1/feed", params={"user_id": reader, "limit": 100})
    return [item["id"] for item in answer.json()["items"]]


def shown_ids(page: Page) -> list[str]:
    return page.locator(".card").evaluate_all("nodes => nodes.map(node => node.dataset.item)")


def eventually(page: Page, holds: Any) -> None:
    for _ in range(100):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not come to hold")


def kinds_of(world: PageWorld, reader: str, item_id: str) -> set[str]:
    with read_connection(world.engine) as connection:
        query = select(interactions).where(
            interactions.c.user_id == reader, interactions.c.item_id == item_id
        )
        row = connection.execute(query).mappings().one_or_none()
    return {name.removesuffix("_at") for name, value in (row or {}).items() if name.endswith("_at") and value}


def controls_of(world: PageWorld, item_id: str) -> list[str]:
    with read_connection(world.engine) as connection:
        query = select(reader_controls.c.control).where(reader_controls.c.target == item_id)
        return list(connection.scalars(query))


def told_of(world: PageWorld, reader: str) -> list[Any]:
    """The impressions that the ledger has of a reader."""
    with read_connection(world.engine) as connection:
        query = select(outcomes).where(outcomes.c.user_id == reader, outcomes.c.kind == "impression")
        return list(connection.execute(query))


def test_choose_a_reader_and_scroll_without_end(open_page: Any, page_world: PageWorld) -> None:
    page = open_page()
    page.get_by_role("combobox", name="Choose a reader").fill("an")
    page.get_by_role("option", name=re.compile("^ann")).click()
    expect(page).to_have_url(re.compile("user=ann"))
    expect(page.locator(".card").first.locator(".reason")).to_contain_text("Because you read On noir")
    wanted = feed_ids(page_world, "ann")
    assert shown_ids(page) == wanted[:20]
    while len(shown_ids(page)) < len(wanted):
        before = len(shown_ids(page))
        page.mouse.wheel(0, 20_000)
        expect(page.locator(".card").nth(before)).to_be_attached()
    assert shown_ids(page) == wanted


def test_keyboard_alone(open_page: Any, page_world: PageWorld) -> None:
    page = open_page(clock=True)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Skip to the content")).to_be_focused()
    page.get_by_role("combobox", name="Choose a reader").focus()
    page.keyboard.type("gi")
    expect(page.locator("#readers li")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".card")).to_have_count(20)
    expect(page.get_by_role("heading", level=1, name="Feed")).to_be_focused()
    for view in ("Reader", "Feed"):
        page.get_by_role("link", name=view, exact=True).focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1, name=view)).to_be_focused()
    expect(page.locator(".card")).to_have_count(20)
    first = shown_ids(page)[0]
    card_of(page, first).locator("h2 button").focus()
    page.keyboard.press("Tab")
    expect(card_of(page, first).locator(".like")).to_be_focused()
    page.keyboard.press("Enter")
    expect(card_of(page, first).locator(".like")).to_have_attribute("aria-pressed", "true")
    expect(card_of(page, first).locator(".like")).to_be_focused()
    eventually(page, lambda: "like" in kinds_of(page_world, "gil", first))
    expect(page.get_by_role("status")).to_contain_text("up to date")

    second, third = shown_ids(page)[1:3]
    card_of(page, second).locator(".hide").focus()
    page.keyboard.press("Enter")
    expect(card_of(page, second)).to_have_count(0)
    expect(card_of(page, third).locator("h2 button")).to_be_focused()
    page.clock.fast_forward(60_000)
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    page.keyboard.press("Control+z")
    expect(card_of(page, second).locator("h2 button")).to_be_focused()
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    page.get_by_label("Language").select_option("ko")
    expect(page.get_by_label("언어")).to_be_focused()


def test_open_like_hide_and_less_change_the_feed(open_page: Any, page_world: PageWorld) -> None:
    page = open_page("#/feed?user=ben")
    expect(page.locator(".card")).to_have_count(20)
    opened, liked, hidden, lessened = (
        page.locator(".card").nth(i).get_attribute("data-item") for i in range(4)
    )

    card_of(page, opened).locator("h2 button").click()
    expect(card_of(page, opened).locator("h2 button")).to_have_attribute("aria-expanded", "true")
    eventually(page, lambda: {"click", "read"} <= kinds_of(page_world, "ben", opened))
    expect(card_of(page, opened)).to_be_visible()

    card_of(page, liked).locator(".like").click()
    expect(card_of(page, liked).locator(".like")).to_have_attribute("aria-pressed", "true")
    eventually(page, lambda: "like" in kinds_of(page_world, "ben", liked))
    eventually(page, lambda: liked not in feed_ids(page_world, "ben"))

    card_of(page, hidden).locator(".hide").click()
    expect(card_of(page, hidden)).to_have_count(0)
    assert hidden not in feed_ids(page_world, "ben")
    page.get_by_role("button", name="Undo").click()
    expect(card_of(page, hidden)).to_be_visible()
    card_of(page, hidden).locator(".hide").click()
    expect(card_of(page, hidden)).to_have_count(0)
    assert controls_of(page_world, hidden) == ["hide"]
    assert "hide" not in kinds_of(page_world, "ben", hidden)
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)

    card_of(page, lessened).locator(".less").click()
    expect(card_of(page, lessened)).to_have_count(0)
    assert controls_of(page_world, lessened) == ["less"]
    expect(page.get_by_role("status")).to_contain_text("less like this")
    page.get_by_role("button", name="Undo").click()
    eventually(page, lambda: lessened in feed_ids(page_world, "ben"))


def test_leave_join_and_post(open_page: Any, page_world: PageWorld) -> None:
    page = open_page("#/feed?user=eun")
    garden = page.locator('[data-community="garden"]')
    expect(garden).to_have_attribute("aria-pressed", "false")
    films = page.locator('[data-community="films"]')
    films.click()
    expect(films).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".card .meta", has_text="films")).to_have_count(0)
    joined = page_world.client.get("/v1/users/eun/communities").json()["communities"]
    assert [one["community_id"] for one in joined] == ["books"]
    films.click()
    expect(page.locator(".card .meta", has_text="films").first).to_be_visible()

    page.get_by_label("Community", exact=True).select_option("films")
    page.get_by_label("Title").fill("A new one on noir")
    page.get_by_label("Tags, separated").fill("noir, evening")
    page.get_by_role("button", name="Post", exact=True).click()
    card = page.locator(".card.fresh", has_text="A new one on noir")
    expect(card).to_be_visible()
    expect(card.locator(".badge")).to_have_text("New here")
    item_id = card.get_attribute("data-item")
    assert page_world.client.get(f"/v1/items/{item_id}").json()["tags"] == ["noir", "evening"]
    assert item_id in feed_ids(page_world, "eun")


def test_what_was_seen_is_told(open_page: Any, page_world: PageWorld) -> None:
    page = open_page("#/feed?user=dee")
    expect(page.locator(".card")).to_have_count(20)

    eventually(page, lambda: told_of(page_world, "dee"))
    first, last = page.locator(".card").first, page.locator(".card").last
    seen = {row.item_id for row in told_of(page_world, "dee")}
    assert first.get_attribute("data-item") in seen
    assert last.get_attribute("data-item") not in seen
    assert {row.attribution for row in told_of(page_world, "dee")} == {"explicit"}


def test_nothing_is_seen_while_away_and_what_was_is_told_when_it_can_be(
    open_page: Any, page_world: PageWorld
) -> None:
    page = open_page(expected=("ERR_FAILED",), clock=True)
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => window.away, configurable: true })")
    page.evaluate("window.away = true")
    sent: list[Any] = []

    def refuse_first(route: Route) -> None:
        sent.append(route)
        if len(sent) == 1:
            route.abort()
        else:
            route.continue_()

    page.route("**/v1/events", refuse_first)
    page.evaluate("location.hash = '#/feed?user=hal'")
    expect(page.locator(".card")).to_have_count(20)
    page.wait_for_timeout(300)
    for _ in range(3):
        page.clock.fast_forward(1_100)
        page.wait_for_timeout(50)
    assert sent == []
    page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    eventually(page, lambda: told_of(page_world, "hal"))
    assert len(sent) > 1


def test_a_long_feed_stays_long(open_page: Any, page_world: PageWorld) -> None:
    page = open_page("#/feed?user=kay")
    cards = page.locator(".card")
    expect(cards).to_have_count(20)
    while (before := cards.count()) < 110:
        page.mouse.wheel(0, 30_000)
        expect(cards.nth(before)).to_be_attached()
    gone, after = shown_ids(page)[105:107]
    card_of(page, gone).locator(".hide").scroll_into_view_if_needed()
    page.wait_for_timeout(200)
    count, top = cards.count(), card_of(page, gone).bounding_box()["y"]  # type: ignore[index]
    card_of(page, gone).locator(".hide").click()
    expect(card_of(page, gone)).to_have_count(0)
    assert cards.count() >= count - 1
    assert abs(card_of(page, after).bounding_box()["y"] - top) < 3  # type: ignore[index]
    page.get_by_role("button", name="Undo").click()
    expect(card_of(page, gone).locator("h2 button")).to_be_focused()
    assert cards.count() >= count
    assert abs(card_of(page, gone).bounding_box()["y"] - top) < 3  # type: ignore[index]
    page.locator('[data-community="films"]').click()
    expect(page.locator(".card .meta", has_text="films")).to_have_count(0)


def test_sources_and_scores_on_demand(open_page: Any, page_world: PageWorld) -> None:
    page = open_page("#/feed?user=cho")
    expect(page.locator(".card")).to_have_count(20)
    expect(page.locator(".scores:not(:empty)")).to_have_count(0)
    page.get_by_label("Show sources and scores").check()
    expect(page.locator(".scores:not(:empty)")).to_have_count(20)
    first = page_world.client.get("/v1/feed", params={"user_id": "cho", "explain": True}).json()["items"][0]
    scores = card_of(page, first["id"]).locator(".scores")
    expect(scores.locator(".source")).to_have_text(first["source"])
    expect(scores.locator(".score")).to_have_text(f"{first['score']:.4f}")
    expect(scores).to_contain_text(first["explain"][0]["step"])


def test_a_refused_post_says_why(open_page: Any, page_world: PageWorld) -> None:
    page = open_page("#/feed?user=cho", expected=("422",))
    page.get_by_label("Author").fill("two words")
    page.get_by_label("Title").fill("Never stored")
    page.get_by_role("button", name="Post", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("author_id")
    with read_connection(page_world.engine) as connection:
        assert connection.scalar(select(items.c.item_id).where(items.c.title == "Never stored")) is None
