"""The description of the API at /docs, as somebody reads it who has no other host to ask."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect
from tests.page.page_world import PageWorld

pytestmark = pytest.mark.browser


def test_docs_come_from_this_service_alone(open_page: Any, page_world: PageWorld) -> None:
    answer = page_world.client.get("/docs")
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", answer.text) == []
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert page_world.client.get("/redoc").status_code == 404
    page = open_page("docs")
    call = page.locator("#operations-feed-get_feed_v1_feed_get, .opblock").first
    call.locator("button").first.click()
    expect(page.get_by_role("button", name="Try it out").first).to_be_visible()
