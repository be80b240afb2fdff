"""What is compared with what: a stopped arm until its end, and nothing of a window that slides."""

from typing import Any

import pytest
from sqlalchemy import select
from tests.recommender.experiment_designs import SAID
from tests.recommender.experiments.test_experiment_results import begun, random_times, serve
from tests.recommender.simulated_ledger import MINUTE, simulate, visits

from nearfeed_contracts.fields import now_micros, to_micros
from nearfeed_contracts.tables import served_requests
from nearfeed_core.readings import DAY_MICROS, HOUR_MICROS
from nearfeed_recommender.experiments.lifecycle import ExperimentStore, stop_arm
from nearfeed_recommender.experiments.monitor import guard
from nearfeed_recommender.experiments.records import experiment_of
from nearfeed_recommender.experiments.report_schema import ArmResult, Results
from nearfeed_recommender.experiments.report_text import results_report
from nearfeed_recommender.experiments.results import results_of
from nearfeed_recommender.experiments.snapshots import points_of
from nearfeed_recommender.identity.links import merge_ids
from nearfeed_runtime.operations import Said
from nearfeed_runtime.sql import read_connection, write_transaction

THREE = {"control": None, "latest": "latest", "popular": "popular"}


@pytest.fixture
def store(world: Any) -> ExperimentStore:
    found: ExperimentStore = world.client.app.state.context.experiments
    return found


def results_at(store: ExperimentStore, now: int, before: Results | None = None) -> Results:
    with read_connection(store.engine) as connection:
        return results_of(connection, experiment_of(connection, "trial"), now, before)


def arm_of(results: Results, name: str) -> ArmResult:
    return next(arm for arm in results.arms if arm.arm == name)


def test_a_stopped_arm_is_compared_until_its_end(store: ExperimentStore) -> None:
    begun(store, 2 * HOUR_MICROS, arms=THREE)
    serve(store, lambda _, __: 0.2)
    stopped = stop_arm(store, "trial", "popular", SAID)
    at_stop = results_at(store, now_micros())
    later = now_micros() + HOUR_MICROS
    come = visits(600, 3, later)
    simulate(store.engine, store.live.current, come, lambda _, __: 0.6, seed=2)
    found = results_at(store, later + 2 * HOUR_MICROS)
    popular = arm_of(found, "popular")
    assert popular.metrics["ctr"] == arm_of(at_stop, "popular").metrics["ctr"]
    assert popular.metrics["ctr"].lift is not None
    assert popular.stopped_at is not None
    assert to_micros(popular.stopped_at) == stopped.traffic.stopped_at["popular"]
    assert arm_of(found, "control").clicks > 2 * arm_of(at_stop, "control").clicks
    assert arm_of(found, "latest").metrics["ctr"].mean == pytest.approx(0.4, abs=0.05)
    assert "ctr of arm popular was not told from that of control, until it was stopped." in found.verdict
    assert "ctr of arm latest is not told" in found.verdict


def test_beyond_the_ledger_differences_are_those_of_before(store: ExperimentStore) -> None:
    guardrails = [{"metric": "took_ms", "most_loss": 0.2}]
    trial = begun(store, 29 * DAY_MICROS, guardrails=guardrails)
    serve(store, took=random_times({"control": 10.0, "latest": 14.0}))
    before = results_at(store, now_micros())
    assert before.intervals_until == before.until
    after = now_micros() + 2 * DAY_MICROS
    come = visits(600, 3, after - HOUR_MICROS)
    simulate(store.engine, store.live.current, come, lambda _, __: 0.6, seed=2)
    found = results_at(store, after, before)
    assert found.since > before.since
    assert found.intervals_until == before.until
    assert (found.mismatch, found.guardrails) == (before.mismatch, before.guardrails)
    assert found.guardrails[0].broken
    for arm in ("control", "latest"):
        now, then = arm_of(found, arm).metrics["ctr"], arm_of(before, arm).metrics["ctr"]
        assert (now.interval, now.difference, now.lift) == (then.interval, then.difference, then.lift)
        assert now.mean != then.mean
    assert found.verdict.startswith(f"{before.verdict} The ledger goes back 30 days")
    assert results_at(store, after + MINUTE, found).intervals_until == before.until
    assert guard(store, trial, after) == 0
    assert {(point.lift, point.interval) for point in points_of(found)} == {(None, None)}


def test_beyond_the_ledger_nothing_is_told_where_nothing_was_kept(store: ExperimentStore) -> None:
    begun(store, 31 * DAY_MICROS, guardrails=[{"metric": "took_ms"}])
    serve(store)
    found = results_at(store, now_micros())
    assert (found.mismatch, found.guardrails, found.intervals_until) == (None, [], None)
    assert {arm.metrics["ctr"].lift for arm in found.arms} == {None}
    assert min(arm.metrics["ctr"].mean or 0 for arm in found.arms) > 0.1
    assert found.verdict.startswith("Too little is known of arm latest. The ledger goes back 30 days")


def test_readers_of_two_arms_are_told(store: ExperimentStore) -> None:
    begun(store, 2 * HOUR_MICROS)
    serve(store)
    found = results_at(store, now_micros())
    apart = {arm: first_of(store, arm) for arm in ("control", "latest")}
    with write_transaction(store.engine) as transaction:
        merge_ids(transaction, apart["control"], apart["latest"])
    mixed = results_at(store, now_micros())
    assert (found.mixed_readers, mixed.mixed_readers) == (0, 1)
    assert [arm.readers for arm in mixed.arms] == [arm.readers for arm in found.arms]
    said = [step.text for step in results_report(mixed) if isinstance(step, Said)]
    assert said[0] == "Readers of two arms, whose ids were merged later: 1."


def first_of(store: ExperimentStore, arm: str) -> str:
    """A reader who was served an arm."""
    query = select(served_requests.c.user_id).where(served_requests.c.arm == arm).limit(1)
    with read_connection(store.engine) as connection:
        return str(connection.scalar(query))
