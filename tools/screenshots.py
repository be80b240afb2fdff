"""Pictures of the page for the documents, of a copy of the demo's folder: `make screenshots`."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from nearfeed_backends.opening import open_database
from nearfeed_standalone.demo.farewell import example_of
from nearfeed_standalone.lock import read_owner

CHROMIUM = os.environ.get("NEARFEED_CHROMIUM", "/usr/bin/chromium")
WIDE = (1180, 860)
PHONE = (390, 780)
SECONDS = 60
COLOURS = 128


class Picture(NamedTuple):
    """A view as somebody sees it."""

    name: str
    view: str
    theme: str = "light"
    size: tuple[int, int] = WIDE
    language: str = "en"
    ready: str = ".card"


PICTURES = (
    Picture("page-feed", "feed"),
    Picture("page-feed-dark", "feed", theme="dark"),
    Picture("page-feed-phone", "feed", theme="dark", size=PHONE, language="ko"),
    Picture("page-reader", "reader", ready=".readings tbody tr"),
    Picture("page-space", "space", ready=".compare li"),
    Picture("page-system", "system", theme="dark", ready="svg.chart"),
    Picture("page-experiments", "experiments", ready=".arms tbody tr"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("nearfeed-demo"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--view", help="of this view alone")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "data"
        shutil.copytree(options.data_dir, copy, ignore=shutil.ignore_patterns("owner.lock"))
        with served(copy) as url, sync_playwright() as playwright:
            reader = example_of(open_database(f"sqlite:///{copy}/nearfeed.db")).user_id
            prepare(url, reader)
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            for picture in PICTURES if options.view is None else of_view(options.view):
                take(browser, url, reader, picture, options.out / f"{picture.name}.png")
            browser.close()


def of_view(view: str) -> list[Picture]:
    return [picture for picture in PICTURES if picture.view == view]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serves a data folder; yields where."""
    command = [sys.executable, "-m", "nearfeed_standalone", "serve", "--port", "0", "--data-dir", str(folder)]
    process = subprocess.Popen(command)
    try:
        end = time.monotonic() + SECONDS
        while not ((owner := read_owner(folder)) and owner.pid == process.pid and owner.address):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{folder} cannot be served; see the lines above.")
            time.sleep(0.1)
        yield owner.address
    finally:
        process.terminate()
        process.wait()


def prepare(url: str, reader: str) -> None:
    """A map to look at, and some calls of the last hour."""
    with httpx.Client(base_url=url, trust_env=False, timeout=SECONDS) as client:
        for space in client.get("/v1/admin/spaces").raise_for_status().json()["spaces"]:
            client.post("/v1/admin/spaces/map", params={"space": space["space"]}).raise_for_status()
        for _ in range(50):
            client.get("/v1/feed", params={"user_id": reader}).raise_for_status()


def take(browser: Browser, url: str, reader: str, picture: Picture, path: Path) -> None:
    width, height = picture.size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if picture.theme == "dark" else "light",
        locale=picture.language,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(f"{url}/#/{picture.view}?user={reader}")
    if picture.view == "experiments" and not has_experiments(page):
        sys.stdout.write(f"{path}: left out, the folder has no experiment\n")
    else:
        page.locator(picture.ready).first.wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=path)
        Image.open(path).quantize(COLOURS).save(path, optimize=True)
        sys.stdout.write(f"{path}: {path.stat().st_size // 1_000} kB\n")
    context.close()


def has_experiments(page: Page) -> bool:
    page.locator(".experiment-list :is(table, .hint)").wait_for()
    return page.locator(".experiment-list table").count() > 0


if __name__ == "__main__":
    main()
