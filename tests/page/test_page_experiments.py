"""An experiment from its draft to its end, as an operator runs it on the page."""

import re
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select
from tests.page.page_world import PageWorld

from nearfeed_contracts.tables import audit, experiment_results
from nearfeed_recommender.experiments.report_schema import IntervalOut, MeasuredOut, MismatchOut, Results
from nearfeed_recommender.experiments.snapshots import row_of
from nearfeed_runtime.sql import read_connection, upsert, write_transaction

pytestmark = pytest.mark.browser
URL = "/v1/admin/experiments/lively"


def experiment(world: PageWorld) -> dict[str, Any]:
    return dict(world.client.get(URL).json())


def state(page: Page, reason: str, button: str) -> None:
    """Fills in who and why, and confirms."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Who you are").fill("Ann")
    dialog.get_by_label("Why").fill(reason)
    dialog.get_by_role("button", name=button, exact=True).click()
    expect(dialog).to_have_count(0)


def keep_a_course(world: PageWorld) -> None:
    """What the consumer keeps hour by hour, with an alarm that stays."""
    now = Results.model_validate(world.client.get(f"{URL}/results").json())
    alarm = MismatchOut(p_value=1e-6, alarm=True, expected={"control": 15, "latest": 15})
    for hour in range(1, 6):
        lift = IntervalOut(estimate=0.2, low=0.2 - 0.5 / hour, high=0.2 + 0.5 / hour, p_value=0.1)
        mean = IntervalOut(estimate=0.1, low=0.1 - 0.05 / hour, high=0.1 + 0.05 / hour, p_value=0.01)
        found = [MeasuredOut(mean=0.1, interval=mean, difference=None, lift=each) for each in (None, lift)]
        arms = [
            arm.model_copy(update={"metrics": arm.metrics | {"ctr": measured}})
            for arm, measured in zip(now.arms, found, strict=True)
        ]
        until = now.until - timedelta(hours=6 - hour)
        kept = now.model_copy(update={"arms": arms, "until": until, "mismatch": alarm})
        with write_transaction(world.engine) as transaction:
            upsert(transaction, experiment_results, [row_of(kept)])


def test_draft_start_ramp_and_stop(open_page: Any, page_world: PageWorld) -> None:
    page = open_page("#/experiments")
    expect(page.locator(".experiment-list")).to_contain_text("There is no experiment yet")
    page.get_by_text("A new experiment").click()
    page.get_by_label("Name").fill("lively")
    page.get_by_label("Provider to try").select_option("latest")
    page.get_by_label("Traffic").select_option("0.5")
    page.get_by_role("button", name="Make the draft").click()
    state(page, "to see", "Make the draft")
    expect(page.locator(".experiment .badge")).to_have_text("draft")
    made = experiment(page_world)
    assert (made["state"], made["design"]["traffic"]) == ("draft", 0.5)
    assert [arm["provider"] for arm in made["arms"]] == [None, "latest"]

    page.get_by_role("button", name="Start", exact=True).click()
    state(page, "sized for a week", "Start")
    expect(page.locator(".experiment .badge")).to_have_text("running")
    assert experiment(page_world)["traffic"] == 0.5

    page.get_by_role("button", name="Change the traffic").click()
    page.get_by_role("dialog").get_by_label("Traffic").select_option("1")
    state(page, "no harm seen", "Change the traffic")
    expect(page.locator(".experiment-list tbody")).to_contain_text("100.0%")
    assert experiment(page_world)["traffic"] == 1.0

    for number in range(30):
        page_world.client.get("/v1/feed", params={"user_id": f"walker-{number}", "limit": 1})
    for _ in range(100):
        arms = page_world.client.get(f"{URL}/results").json()["arms"]
        if sum(arm["readers"] for arm in arms) == 30:
            break
        page.wait_for_timeout(50)
    keep_a_course(page_world)
    page.reload()
    for arm in arms:
        row = page.locator(".arms tbody tr", has_text=arm["arm"])
        expect(row.locator("td").nth(3)).to_have_text(str(arm["readers"]))
    days = page_world.client.get(f"{URL}/results").json()["days"]
    expect(page.locator(".days tbody tr")).to_have_count(len(days))
    expect(page.locator(".days tbody tr").first.locator("td").nth(2)).to_have_text(str(days[0]["readers"]))
    expect(page.get_by_role("alert").filter(has_text="in their shares")).to_be_visible()
    page.locator(".experiment .warning").evaluate("node => { node.dataset.read = 'once' }")
    with page.expect_response("**/lively/course"):
        page.locator('[data-experiment="lively"]').click()
    page.wait_for_timeout(100)
    expect(page.locator('.experiment .warning[data-read="once"]')).to_be_visible()
    expect(page.locator('[data-experiment="lively"]')).to_be_focused()
    expect(page.locator("figure .line")).to_have_count(3)
    expect(page.locator("figure .band")).to_have_count(3)
    page.locator("figure").last.locator("summary").click()
    expect(page.locator("figure").last.locator("tbody")).to_contain_text("20.0% [-30.0%, 70.0%]")

    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("dialog").get_by_label("Arm to adopt").select_option("latest")
    state(page, "more clicks", "Stop")
    expect(page.locator(".experiment")).to_contain_text("It was stopped: more clicks")
    ended = experiment(page_world)
    assert (ended["state"], ended["adopted"], ended["stop_reason"]) == ("stopped", "latest", "more clicks")
    with read_connection(page_world.engine) as connection:
        query = select(audit.c.action).where(audit.c.action.like("experiments.%")).order_by(audit.c.number)
        told = list(connection.scalars(query))
    assert told == [f"experiments.{verb}" for verb in ("draft", "start", "ramp", "stop")]


def test_a_refused_change_says_why(open_page: Any, page_world: PageWorld) -> None:
    page = open_page("#/experiments", expected=("422", "409"))
    page.get_by_text("A new experiment").click()
    page_world.client.put(
        "/v1/admin/experiments/taken",
        params={"author": "Ann", "reason": "a test"},
        json={"target": "feed", "arms": {"a": None, "b": "latest"}},
    )
    page_world.client.post("/v1/admin/experiments/taken/start", params={"author": "Ann", "reason": "a test"})
    page.get_by_label("Name").fill("taken")
    page.get_by_role("button", name="Make the draft").click()
    state(page, "twice", "Make the draft")
    expect(page.locator(".fields .fault")).to_contain_text("taken")
    page_world.client.post("/v1/admin/experiments/taken/stop", params={"author": "Ann", "reason": "a test"})


def make(world: PageWorld, name: str, verb: str = "", **more: str) -> None:
    """Drafts an experiment, or does something to it."""
    statement = {"author": "Ann", "reason": "a test", **more}
    if verb:
        answer = world.client.post(f"/v1/admin/experiments/{name}/{verb}", params=statement)
    else:
        design = {"target": "feed", "arms": {"plain": None, "newest": "latest"}}
        answer = world.client.put(f"/v1/admin/experiments/{name}", params=statement, json=design)
    assert answer.is_success, answer.text


def test_one_look_that_fails_is_not_the_last(open_page: Any, page_world: PageWorld) -> None:
    make(page_world, "first-seen")
    page = open_page("#/experiments", expected=("ERR_FAILED",), clock=True)
    chosen = page.locator('[data-experiment="first-seen"]')
    chosen.focus()
    expect(page.locator(".experiment .arms table")).to_be_visible()
    page.route("**/v1/admin/experiments", lambda route: route.abort())
    page.clock.fast_forward(11_000)
    expect(page.get_by_role("status")).to_contain_text("cannot be reached")
    page.unroute("**/v1/admin/experiments")
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => window.away, configurable: true })")
    page.evaluate("window.away = true")
    page.clock.fast_forward(11_000)
    make(page_world, "seen-later")
    page.evaluate("window.away = false")
    page.clock.fast_forward(11_000)
    expect(page.locator('[data-experiment="seen-later"]')).to_be_visible()
    expect(chosen).to_be_focused()


def test_verdicts_and_reasons_in_korean(open_page: Any, page_world: PageWorld) -> None:
    make(page_world, "korean")
    make(page_world, "korean", "start")
    reason = "guardrail ctr: arm newest loses 12.0% or more, and 5.0% is the most allowed"
    make(page_world, "korean", "arms/newest/stop", author="nearfeed", reason=reason)
    page = open_page("#/experiments", locale="ko-KR")
    page.locator('[data-experiment="korean"]').click()
    panel = page.locator(".experiment")
    expect(panel.locator(".verdict")).to_have_text(re.compile("[가-힣]"))
    expect(panel.get_by_role("alert")).to_contain_text("클릭률의 안전 기준(허용 손실 5.0%)")
    expect(panel.locator(".arms")).to_contain_text("(비교군)")
    expect(panel).to_contain_text("중단된 이유: 클릭률의 안전 기준")  # no arm is left beside the control
    assert "guardrail" not in panel.inner_text()
