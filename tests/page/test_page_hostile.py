"""Whatever a post, a community, an author or a tag is called, nothing of it runs."""

from typing import Any

import pytest
from playwright.sync_api import expect
from tests.page.page_world import PageWorld

pytestmark = pytest.mark.browser

HOSTILE = [
    "<script>window.ran = 1</script>",
    '<img src="x" onerror="window.ran = 1">',
    '"><svg onload="window.ran = 1"><a href="javascript:window.ran = 1">',
    "</h2><iframe srcdoc='<script>parent.ran = 1</script>'></iframe>",
    "{{constructor.constructor('window.ran = 1')()}} ${window.ran = 1}",
    "\u202emoc.elpmaxe \u2066 turned round \u202d\u200f",
    "<math><mtext><style><img src=x onerror=window.ran=1>",
]
COMMUNITY = '"><svg/onload=window.ran=1>'
AUTHOR = "<img/src=x/onerror=window.ran=1>"
READER = "<u>reader&amp;'\""


def test_hostile_posts_run_nothing(open_page: Any, page_world: PageWorld) -> None:
    client = page_world.client
    with_slash = COMMUNITY.replace("/", "%2F").replace('"', "%22")
    assert client.put(f"/v1/communities/{with_slash}").status_code == 204
    for number, text in enumerate(HOSTILE):
        content = {
            "community_id": COMMUNITY,
            "author_id": AUTHOR,
            "title": text,
            "body": text * 3,
            "tags": [text[:64], "noir"],
            "language": "en",
            "url": "javascript:window.ran=1",
        }
        assert client.put(f"/v1/items/hostile-{number}", json=content).status_code == 200
        read = {"user_id": READER, "item_id": f"hostile-{number}", "kind": "read"}
        if number < 2:
            assert client.post("/v1/events", json=read).status_code == 202
    page = open_page()
    page.evaluate("reader => { location.hash = `#/feed?${new URLSearchParams({ user: reader })}` }", READER)
    page.get_by_label("Show sources and scores").check()
    for number, text in list(enumerate(HOSTILE))[2:]:
        card = page.locator(f'.card[data-item="hostile-{number}"]')
        expect(card.locator("h2 bdi")).to_have_text(text, use_inner_text=False)
        card.locator("h2 button").click()
        expect(card.locator(".body")).to_contain_text(text[:20])
        assert card.locator(".url a").count() == 0
        assert card.locator("script, img, svg, iframe, math, style").count() == 0
    page.get_by_role("link", name="Reader").click()
    expect(page.locator(".readings tr", has_text=HOSTILE[0])).to_be_visible()
    expect(page.locator(".topics")).to_contain_text(HOSTILE[1][:20])
    assert page.evaluate("window.ran") is None


def test_the_policy_stops_what_would_run(open_page: Any, page_world: PageWorld) -> None:
    page = open_page(expected=("Content Security Policy", "TrustedHTML"))
    refused = page.evaluate(
        """() => {
            try { document.body.innerHTML = "<img src=x onerror='window.ran = 1'>"; return "" }
            catch (error) { return error.name }
        }"""
    )
    assert refused == "TypeError"
    page.evaluate(
        """() => {
            const link = document.createElement("a");
            link.href = "javascript:window.ran=1";
            document.body.append(link);
            link.click();
        }"""
    )
    page.wait_for_timeout(100)
    assert page.evaluate("window.ran") is None
