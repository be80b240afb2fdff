"""What is behind a reader, as a person looks at it."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from sqlalchemy import select
from tests.page.page_world import PageWorld

from nearfeed_contracts.tables import reader_controls
from nearfeed_runtime.sql import read_connection

pytestmark = pytest.mark.browser


def muted(world: PageWorld, reader: str) -> list[str]:
    with read_connection(world.engine) as connection:
        query = select(reader_controls.c.target).where(
            reader_controls.c.user_id == reader, reader_controls.c.control == "mute"
        )
        return list(connection.scalars(query))


def test_readings_and_neighbours(open_page: Any, page_world: PageWorld) -> None:
    page = open_page("#/reader?user=hal")
    behind = page_world.client.get("/v1/users/hal/vector").json()["readings"]
    rows = page.locator(".readings tbody tr")
    expect(rows).to_have_count(len(behind))
    expect(rows.first).to_contain_text(behind[0]["title"])
    expect(rows.last).to_contain_text(f"{behind[-1]['weight']:.3f}")
    around = page_world.client.get("/v1/admin/readers/around", params={"user_id": "hal", "limit": 10}).json()
    assert around["readers"][0]["user_id"] == "cho"
    near = page.locator(".near").first.locator("li")
    assert near.evaluate_all("nodes => nodes.map(node => node.dataset.item)") == [
        post["id"] for post in around["posts"]
    ]
    page.get_by_role("link", name="cho").click()
    expect(page.get_by_role("combobox", name="Choose a reader")).to_have_value("cho")


def test_mute_a_topic(open_page: Any, page_world: PageWorld) -> None:
    page = open_page("#/reader?user=ida")
    chip = page.locator('[data-tag="part1"]')
    chip.click()
    expect(chip).to_have_attribute("aria-pressed", "true")
    expect(chip).to_be_focused()
    assert muted(page_world, "ida") == ["part1"]
    items = page_world.client.get("/v1/feed", params={"user_id": "ida", "limit": 100}).json()["items"]
    assert items
    assert not [item for item in items if "part1" in item["tags"]]
    page.locator('.set-controls [data-target="part1"]').get_by_role("button", name="Lift").click()
    expect(chip).to_have_attribute("aria-pressed", "false")
    assert muted(page_world, "ida") == []


def test_export_reset_and_erase(open_page: Any, page_world: PageWorld, tmp_path: Path) -> None:
    page = open_page("#/reader?user=jun")
    expect(page.locator(".readings tbody tr")).to_have_count(6)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    download.value.save_as(tmp_path / "jun.json")
    exported = json.loads((tmp_path / "jun.json").read_text())
    held = page_world.client.get("/v1/users/jun/export").json()
    assert exported | {"exported_at": None} == held | {"exported_at": None}

    page.get_by_role("button", name="Reset").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.locator(".readings tbody tr")).to_have_count(6)
    page.get_by_role("button", name="Reset").click()
    page.get_by_role("dialog").get_by_role("button", name="Reset").click()
    expect(page.locator(".readings tbody tr")).to_have_count(0)
    assert page_world.client.get("/v1/users/jun/vector").json()["readings"] == []
    assert page_world.client.get("/v1/users/jun/communities").json()["communities"]

    page.get_by_role("button", name="Erase").click()
    page.get_by_role("dialog").get_by_role("button", name="Erase").click()
    expect(page.locator(".remains")).to_contain_text("What is left of the reader")
    assert page_world.client.get("/v1/users/jun/communities").json()["communities"] == []
    assert page_world.client.get("/v1/admin/erasure/jun").json()["erased_at"] is not None
