"""The map of a space, and two spaces side by side, as a person looks at them."""

from typing import Any

import pytest
from playwright.sync_api import Route, expect
from tests.page.page_world import COMMUNITIES, POSTS_OF_A_TOPIC, PageWorld

from nearfeed_recommender.space_maps.files import read_map

pytestmark = pytest.mark.browser


def test_make_a_map_and_find_the_reader(open_page: Any, page_world: PageWorld) -> None:
    page = open_page("#/space?user=fay")
    page.get_by_role("button", name="Make the map").click()
    canvas = page.locator("canvas")
    expect(canvas).to_be_visible()
    expect(page.get_by_role("button", name="Make it anew")).to_be_focused()
    made = read_map(page_world.settings.runs_url, "first")
    expect(page.locator(".map-panel")).to_contain_text(f"of {made.posts} posts")

    page.get_by_text("The posts nearest to the reader").click()
    nearest = page.locator(".points li").first
    expect(nearest).to_contain_text("On bees")
    nearest.locator("button").focus()
    title = nearest.locator("button").inner_text()
    expect(page.locator(".map .tip")).to_have_text(title)

    page.get_by_role("button", name="books").click()
    expect(page.locator(".points li").first).to_contain_text("books")
    assert page.locator(".points li", has_text="garden").count() == 0
    page.get_by_role("button", name="books").click()

    place = page_world.client.get(
        "/v1/admin/spaces/map/reader", params={"space": "first", "user_id": "fay"}
    ).json()
    assert len(place["readings"]) == 6
    assert page.evaluate("document.querySelector('canvas').getContext('2d') !== null")


def test_hovering_tells_the_title(open_page: Any, page_world: PageWorld) -> None:
    made = page_world.client.post("/v1/admin/spaces/map", params={"space": "first"}).json()
    assert len(made["points"]) >= POSTS_OF_A_TOPIC * len(COMMUNITIES)
    page = open_page("#/space")
    box = page.locator("canvas").bounding_box()
    titles = {point["title"] for point in made["points"]}
    for step in range(1, 40):
        page.mouse.move(box["x"] + box["width"] * step / 40, box["y"] + box["height"] * 0.5)
        if page.locator(".map .tip").is_visible():
            break
    assert page.locator(".map .tip").inner_text() in titles


def test_compare_two_spaces(open_page: Any, page_world: PageWorld) -> None:
    page_world.client.post("/v1/admin/spaces/map", params={"space": "first"})
    page = open_page("#/space?user=ann")
    shown = {}
    for space in ("first", "second"):
        answer = page_world.client.get(
            "/v1/admin/spaces/feed", params={"space": space, "user_id": "ann", "limit": 20}
        )
        shown[space] = [item["id"] for item in answer.json()["items"]]
        column = page.get_by_role("list", name=space).locator("li")
        expect(column).to_have_count(20)
        assert column.evaluate_all("nodes => nodes.map(node => node.dataset.item)") == shown[space]
    assert shown["first"] != shown["second"]
    shared = len(set(shown["first"]) & set(shown["second"]))
    expect(page.locator(".space")).to_contain_text(f"{shared} of 20 posts are in both")
    expect(page.locator(".space")).to_contain_text("nearfeed spaces activate second")
    page.get_by_label("On the right").select_option("first")
    expect(page.locator(".space")).to_contain_text("20 of 20 posts are in both")


def test_a_map_that_comes_too_late_is_let_go(open_page: Any, page_world: PageWorld) -> None:
    page_world.client.post("/v1/admin/spaces/map", params={"space": "first"})
    page = open_page("#/feed")
    page.evaluate(
        """() => {
            window.watching = 0;
            window.ResizeObserver = class extends ResizeObserver {
                observe(node) { window.watching++; super.observe(node); }
                disconnect() { window.watching--; super.disconnect(); }
            };
        }"""
    )
    held: list[Route] = []
    page.route("**/v1/admin/spaces/map?*", lambda route: held.append(route))
    with page.expect_request("**/v1/admin/spaces/map?*"):
        page.get_by_role("link", name="Space").click()
    page.get_by_role("link", name="System").click()
    expect(page.locator(".tile .up")).to_have_count(3)
    with page.expect_response("**/v1/admin/spaces/map?*"):
        held[0].continue_()
    page.wait_for_timeout(200)
    assert page.evaluate("window.watching") == 0
    page.unroute("**/v1/admin/spaces/map?*")
    page.get_by_role("link", name="Space").click()
    expect(page.locator("canvas")).to_be_visible()
    assert page.evaluate("window.watching") == 1
