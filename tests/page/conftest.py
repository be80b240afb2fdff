"""The world of the page's tests, and a real browser.

Where Chromium is missing a test marked `browser` is skipped with the reason; with REQUIRE_BROWSER=1 it fails.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from tests.page.page_world import PageWorld, open_world

CHROMIUM = os.environ.get("NEARFEED_CHROMIUM", "/usr/bin/chromium")
TIMEOUT_MS = 10_000


@pytest.fixture(scope="session")
def page_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageWorld]:
    with open_world(tmp_path_factory.mktemp("page")) as world:
        yield world


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        reason = f"there is no {CHROMIUM}; install chromium, or set NEARFEED_CHROMIUM"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, page_world: PageWorld) -> Iterator[Open]:
    """Opens the page at a hash; at the end nothing may have failed in it or asked another host.

    With `clock` time can be put forward.
    """
    faults: list[str] = []
    contexts = []

    def open_(
        hash_: str = "",
        *,
        url: str = "",
        expected: tuple[str, ...] = (),
        clock: bool = False,
        **options: object,
    ) -> Page:
        context = browser.new_context(**{"locale": "en-GB", "reduced_motion": "reduce", **options})  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        if clock:
            page.clock.install()
        host = urlsplit(url or page_world.url).netloc
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))

        def told(message: object) -> None:
            text = message.text  # type: ignore[attr-defined]
            if message.type == "error" and not any(part in text for part in expected):  # type: ignore[attr-defined]
                faults.append(f"console: {text}")

        def asked(request: object) -> None:
            parts = urlsplit(request.url)  # type: ignore[attr-defined]
            if parts.scheme not in ("blob", "data") and parts.netloc != host:
                faults.append(f"asked another host: {request.url}")  # type: ignore[attr-defined]

        page.on("console", told)
        page.on("request", asked)
        page.goto(f"{url or page_world.url}/{hash_}")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not faults
