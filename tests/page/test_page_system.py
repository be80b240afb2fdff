"""How the installation does, as an operator looks at it; keys, languages, colours and narrow screens."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect
from tests.page.page_world import ALL_KEY, READ_KEY, PageWorld

pytestmark = pytest.mark.browser


def test_system_tells_what_the_service_says(open_page: Any, page_world: PageWorld) -> None:
    page_world.client.get("/v1/feed", params={"user_id": "ann"})
    page = open_page("#/system")
    found = page_world.client.get("/v1/admin/system").json()
    assert found["checks"] == {"database": True, "log": True, "vectors": True}
    expect(page.locator(".tile .up")).to_have_count(3)
    expect(page.locator(".tiles")).to_contain_text("first")
    (lag,) = [topic for topic in found["topics"] if topic["topic"] == "interactions"]
    assert {"group": "recommender", "behind": 0} in lag["groups"]
    for group in lag["groups"]:
        row = page.locator(".topics-lag tr", has_text="interactions").filter(has_text=group["group"])
        expect(row).to_be_visible()
    expect(page.locator(".spaces tbody tr")).to_have_count(2)
    expect(page.locator(".routes tr", has_text="GET /v1/feed")).to_be_visible()
    expect(page.locator(".routes th").nth(1)).to_have_text("Calls")
    expect(page.locator("svg.chart").first).to_be_visible()
    page.locator("figure summary").first.click()
    expect(page.locator("figure tbody tr").first).to_be_visible()
    assert sum(minute["calls"] for minute in found["minutes"]) > 0


def test_a_key_is_asked_for_once_and_its_scopes_are_told(open_page: Any, page_world: PageWorld) -> None:
    refused = ("401", "403")
    page = open_page("#/feed?user=ann", url=page_world.guarded_url, expected=refused)
    expect(page.get_by_role("dialog")).to_have_count(1)
    page.get_by_label("API key").fill("a wrong one")
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("dialog")).to_contain_text("does not know the key")
    page.get_by_label("API key").fill(READ_KEY)
    page.get_by_role("button", name="Use it").click()
    expect(page.locator(".card")).to_have_count(20)
    expect(page.get_by_role("status")).to_contain_text("events, items, admin")
    page.locator(".card .like").first.click()
    expect(page.get_by_role("status")).to_contain_text("lacks the scope 'events'")
    page.get_by_role("link", name="Reader").click()
    expect(page.locator(".readings tbody tr").first).to_be_visible()
    expect(page.locator(".set-controls li")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("lacks the scope 'admin'")
    page.get_by_role("link", name="System").click()
    expect(page.get_by_role("status")).to_contain_text("lacks the scope 'admin'")

    full = open_page("#/system", url=page_world.guarded_url, expected=refused)
    full.get_by_label("API key").fill(ALL_KEY)
    full.get_by_role("button", name="Use it").click()
    expect(full.locator(".tile .up")).to_have_count(3)
    full.reload()
    expect(full.locator(".tile .up")).to_have_count(3)
    expect(full.get_by_role("dialog")).to_have_count(0)


def test_korean_dark_and_narrow(open_page: Any, page_world: PageWorld) -> None:
    page = open_page(
        "#/feed?user=ann",
        locale="ko-KR",
        color_scheme="dark",
        viewport={"width": 360, "height": 740},
    )
    expect(page.get_by_role("link", name="피드", exact=True)).to_have_attribute("aria-current", "page")
    expect(page.locator(".card .reason").first).to_have_text(re.compile("On noir, part .*읽으셔서$"))
    reader = page.get_by_role("combobox", name="독자 선택")
    reader.fill("b")
    composing = "new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true })"
    reader.evaluate(f"node => node.dispatchEvent({composing})")
    assert page.url.endswith("user=ann")
    reader.press("Escape")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_label("색상").select_option("light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    for view in ("독자", "공간", "시스템", "실험", "피드"):
        page.get_by_role("link", name=view, exact=True).click()
        expect(page.locator("main")).to_be_visible()
        page.wait_for_timeout(150)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
    page.get_by_label("언어").select_option("en")
    expect(page.get_by_role("link", name="Feed", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("link", name="Feed", exact=True)).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "en"
