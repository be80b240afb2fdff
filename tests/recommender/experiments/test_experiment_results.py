"""Results: differences that are there are told, alarms stop what they should, and what was kept stays."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from tests.recommender.experiment_designs import SAID, started
from tests.recommender.simulated_ledger import MINUTE, act_before, simulate, visits

from nearfeed_contracts.fields import from_micros, now_micros, to_micros
from nearfeed_contracts.tables import audit, experiment_results, experiments, served_requests
from nearfeed_core.experiments.sizing import readers_needed
from nearfeed_core.readings import DAY_MICROS, HOUR_MICROS
from nearfeed_recommender.experiments.guardrails import tuning_of
from nearfeed_recommender.experiments.lifecycle import ExperimentStore, stop, stop_arm
from nearfeed_recommender.experiments.monitor import Pace, watch
from nearfeed_recommender.experiments.power import Plan, TooLittleError, size_of_plan
from nearfeed_recommender.experiments.records import Experiment, experiment_of
from nearfeed_recommender.experiments.report_schema import Results
from nearfeed_recommender.experiments.results import results_of
from nearfeed_recommender.experiments.snapshots import (
    course_of,
    current_results,
    keep_if_due,
    latest_results,
    row_of,
)
from nearfeed_runtime.sql import read_connection, write_transaction

ARMS = {"control": 0.2, "latest": 0.3, "holdout": 0.2}


@pytest.fixture
def store(world: Any) -> ExperimentStore:
    found: ExperimentStore = world.client.app.state.context.experiments
    return found


def begun(store: ExperimentStore, ago: int, **changes: Any) -> Experiment:
    """An experiment that was started some time ago."""
    started(store, **changes)
    with write_transaction(store.engine) as transaction:
        transaction.execute(update(experiments).values(started_at=now_micros() - ago, revision=99))
    store.live.refresh()
    with read_connection(store.engine) as connection:
        return experiment_of(connection, "trial")


def results(store: ExperimentStore, before: Results | None = None) -> Results:
    with read_connection(store.engine) as connection:
        return results_of(connection, experiment_of(connection, "trial"), now_micros(), before)


def serve(store: ExperimentStore, chance: Any = lambda arm, _: ARMS[arm], each: int = 3, **told: Any) -> None:
    come = visits(600, each, now_micros() - HOUR_MICROS)
    simulate(store.engine, store.live.current, come, chance, **told)


def test_a_difference_is_told_with_its_interval(store: ExperimentStore) -> None:
    begun(store, 2 * HOUR_MICROS, holdout=0.1)
    serve(store)
    found = results(store)
    control, latest, holdout = found.arms
    assert (control.arm, latest.arm, holdout.arm) == ("control", "latest", "holdout")
    assert control.readers + latest.readers + holdout.readers == 600
    assert control.requests == 3 * control.readers
    assert control.impressions == 3 * control.requests
    measured = latest.metrics["ctr"]
    assert measured.mean == pytest.approx(latest.clicks / latest.impressions)
    assert measured.lift is not None
    assert 0 < measured.lift.low < 0.5 < measured.lift.high
    assert control.metrics["ctr"].lift is None
    assert latest.metrics["depth"].mean == 3
    assert (latest.took_p50_ms, latest.took_p95_ms) == (10, 10)
    assert (latest.sessions, latest.seen_per_session) == (latest.readers, 9)
    assert found.verdict == "ctr of arm latest is higher than that of control."
    assert found.mismatch is not None
    assert not found.mismatch.alarm
    assert sum(day.requests for day in found.days) == 1_800


def test_no_difference_is_not_told(store: ExperimentStore) -> None:
    begun(store, 2 * HOUR_MICROS)
    assert results(store).verdict == "Nothing has been served yet."
    serve(store, lambda _, __: 0.2)
    assert results(store).verdict == "ctr of arm latest is not told from that of control."


def test_what_readers_did_before_narrows_the_interval(store: ExperimentStore) -> None:
    trial = begun(store, 2 * HOUR_MICROS, metric="clicks_per_reader")
    keen = {f"u{number}": number % 5 for number in range(600)}
    for reader, clicks in keen.items():
        act_before(store.engine, reader, (trial.started_at or 0) - MINUTE, clicks, 5)
    serve(store, lambda _, visit: 0.04 + 0.2 * keen[visit.reader])
    found = results(store)
    assert found.removed["clicks_per_reader"] > 0.4
    without = trial.design.model_copy(update={"days_before": 0})
    with read_connection(store.engine) as connection:
        plain = results_of(connection, Experiment(**{**vars(trial), "design": without}), now_micros())
    widths = []
    for each in (found, plain):
        difference = each.arms[1].metrics["clicks_per_reader"].difference
        assert difference is not None
        widths.append(difference.high - difference.low)
    assert widths[0] < 0.8 * widths[1]


def test_readers_who_do_not_come_as_they_should_are_an_alarm(store: ExperimentStore) -> None:
    begun(store, 2 * HOUR_MICROS)
    serve(store, each=1)
    lost = select(served_requests.c.request_id).where(served_requests.c.arm == "latest").limit(150)
    with write_transaction(store.engine) as transaction:
        ids = list(transaction.scalars(lost))
        transaction.execute(delete(served_requests).where(served_requests.c.request_id.in_(ids)))
    found = results(store)
    assert found.mismatch is not None
    assert found.mismatch.alarm
    assert found.verdict.startswith("Readers did not come to the arms in their shares")
    with write_transaction(store.engine) as transaction:
        transaction.execute(delete(served_requests))
    again = results(store, found).mismatch
    assert again is not None
    assert again.p_value == found.mismatch.p_value


def test_a_guardrail_stops_an_arm_by_itself(store: ExperimentStore) -> None:
    slow = {"control": 10.0, "latest": 10.0, "popular": 14.0}
    begun(
        store,
        2 * HOUR_MICROS,
        arms={"control": None, "latest": "latest", "popular": "popular"},
        guardrails=[{"metric": "took_ms", "most_loss": 0.2}, {"metric": "failed", "most_loss": 0.01}],
    )
    chance = random_times(slow)
    serve(store, lambda _, __: 0.2, took=chance)
    assert watch(store) == 2
    with read_connection(store.engine) as connection:
        trial = experiment_of(connection, "trial")
        told = connection.execute(select(audit.c.actor, audit.c.action).order_by(audit.c.number)).all()
    assert (trial.state, trial.live_arms) == ("running", ("control", "latest"))
    assert trial.traffic.stopped["popular"].startswith("guardrail took_ms: arm popular loses 3")
    assert tuple(told[-1]) == ("nearfeed", "experiments.stop-arm")
    assert results(store).mismatch is not None
    assert watch(store) == 0


def random_times(means: dict[str, float]) -> Any:
    count = iter(range(10**6))
    return lambda arm: means[arm] + next(count) % 5 - 2


def test_results_are_kept_and_outlive_the_ledger(store: ExperimentStore) -> None:
    begun(store, 2 * HOUR_MICROS)
    serve(store, each=1)
    now = now_micros() - 10 * MINUTE
    with read_connection(store.engine) as connection:
        trial = experiment_of(connection, "trial")
    assert keep_if_due(store.engine, trial, now)
    assert not keep_if_due(store.engine, trial, now + MINUTE)
    assert keep_if_due(store.engine, trial, now + 3 * MINUTE)
    stop(store, "trial", SAID)
    assert watch(store) == 1
    assert watch(store) == 0
    with read_connection(store.engine) as connection:
        final = current_results(connection, experiment_of(connection, "trial"), now_micros())
        points = course_of(connection, "trial")
    assert [point.arm for point in points] == ["control", "latest"] * 3
    assert points[-1].mean == final.arms[1].metrics["ctr"].mean
    assert "u1" not in final.model_dump_json()
    with write_transaction(store.engine) as transaction:
        transaction.execute(delete(served_requests))
    with read_connection(store.engine) as connection:
        assert current_results(connection, experiment_of(connection, "trial"), now_micros()) == final


def test_a_size_is_told_from_the_ledger(store: ExperimentStore) -> None:
    begun(store, 4 * DAY_MICROS)
    with (
        read_connection(store.engine) as connection,
        pytest.raises(TooLittleError, match="too little of ctr at feed"),
    ):
        size_of_plan(connection, Plan(), now_micros())
    come = visits(500, 1, now_micros() - 3 * DAY_MICROS - HOUR_MICROS) + visits(
        700, 1, now_micros() - DAY_MICROS
    )
    simulate(store.engine, store.live.current, come, lambda _, __: 0.3)
    with read_connection(store.engine) as connection:
        small = size_of_plan(connection, Plan(lift=0.05), now_micros())
        large = size_of_plan(connection, Plan(lift=1, share=0.25), now_micros())
    assert small.days is None
    assert small.readers > 10 * large.readers
    assert (large.days, [day.days for day in large.course]) == (1, [1, 2, 3])
    assert [day.readers for day in large.course] == [500, 500, 700]
    assert large.mean == pytest.approx(0.3, abs=0.03)


def test_arms_that_share_alpha_need_more_readers(store: ExperimentStore) -> None:
    arms = {"control": None, "latest": "latest", "popular": "popular"}
    trial = begun(store, 4 * DAY_MICROS, arms=arms, holdout=0.1)
    plan = Plan(lift=0.2, comparisons=3)
    assert plan.alpha_each == tuning_of(trial).alpha
    come = visits(500, 1, now_micros() - 3 * DAY_MICROS)
    simulate(store.engine, store.live.current, come, lambda _, __: 0.3)
    with read_connection(store.engine) as connection:
        three = size_of_plan(connection, plan, now_micros())
        one = size_of_plan(connection, Plan(lift=0.2), now_micros())
    unit_variance = three.variance
    assert three.readers == readers_needed(0.2, unit_variance, alpha=0.05 / 3)
    assert three.readers > 1.2 * one.readers
    assert all(a.lift_found > b.lift_found for a, b in zip(three.course, one.course, strict=True))


def test_a_size_is_told_from_so_many_answers_alone(
    store: ExperimentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(store, 4 * DAY_MICROS)
    come = visits(300, 1, now_micros() - 3 * DAY_MICROS) + visits(300, 1, now_micros() - HOUR_MICROS)
    simulate(store.engine, store.live.current, come, lambda _, __: 0.3)
    monkeypatch.setattr("nearfeed_recommender.experiments.power.MOST_ANSWERS", 300)
    with read_connection(store.engine) as connection:
        found = size_of_plan(connection, Plan(lift=1), now_micros())
    assert (found.days, found.course) == (None, [])
    assert to_micros(found.since) == come[300].at


def test_results_are_those_that_were_kept_while_they_are_fresh(store: ExperimentStore) -> None:
    begun(store, 60 * HOUR_MICROS, arms={"control": None, "latest": "latest", "popular": "popular"})
    serve(store, lambda _, __: 0.2, each=1)
    now = now_micros()

    def until(later: int) -> int:
        with read_connection(store.engine) as connection:
            trial = experiment_of(connection, "trial")
            return to_micros(latest_results(connection, trial, now + later).until)

    assert until(0) == now
    with read_connection(store.engine) as connection:
        trial = experiment_of(connection, "trial")
    assert keep_if_due(store.engine, trial, now)
    assert [until(minutes * MINUTE) - now for minutes in (1, 59, 61)] == [0, 0, 61 * MINUTE]
    young = replace(trial, started_at=now - 5 * MINUTE)
    kept = results(store).model_copy(update={"until": from_micros(now), "took_ms": 50.0})
    slow = kept.model_copy(update={"took_ms": 60_000.0})
    for fresh, given, experiment, later in (
        (True, kept, young, 4 * MINUTE // 60),
        (False, kept, young, MINUTE),
        (True, slow, young, HOUR_MICROS),
    ):
        row = row_of(given)
        with write_transaction(store.engine) as transaction:
            transaction.execute(delete(experiment_results))
            transaction.execute(insert(experiment_results), [row])
        with read_connection(store.engine) as connection:
            found = latest_results(connection, experiment, now + later)
        assert (to_micros(found.until) == now) == fresh
    stop_arm(store, "trial", "popular", SAID)
    assert until(HOUR_MICROS) == now + HOUR_MICROS


def test_the_course_is_told_without_the_results_behind_it(store: ExperimentStore) -> None:
    trial = begun(store, 2 * HOUR_MICROS)
    serve(store, each=1)
    for minutes in (10, 5):
        assert keep_if_due(store.engine, trial, now_micros() - minutes * MINUTE)
    with write_transaction(store.engine) as transaction:
        transaction.execute(update(experiment_results).values(document=""))
    with read_connection(store.engine) as connection:
        points = course_of(connection, "trial")
    assert [point.arm for point in points] == ["control", "latest"] * 2
    assert points[0].at < points[2].at
    last, arm = points[-1], results(store).arms[1]
    assert (last.readers, last.requests, last.failed, last.degraded) == (arm.readers, arm.requests, 0, 0)
    assert (last.depth, last.took_p50_ms, last.took_p95_ms) == (3, 10, 10)


def test_an_experiment_is_looked_at_when_it_is_due(store: ExperimentStore) -> None:
    begun(store, 2 * HOUR_MICROS)
    clock = [0.0]
    pace, now = Pace(lambda: clock[0]), now_micros()
    assert watch(store, now, pace) == 1
    later = now + 3 * MINUTE
    clock[0] = 59
    assert watch(store, later, pace) == 0
    stop(store, "trial", SAID)
    assert watch(store, later, pace) == 1


def test_a_work_that_takes_long_rests_for_longer() -> None:
    clock = [0.0]
    pace, done = Pace(lambda: clock[0]), 0
    while clock[0] < 10_000:
        with pace.due("work", 60) as due:
            clock[0] += 20 if due else 0
            done += due
        clock[0] += 15
    assert done == pytest.approx(10_000 / (20 * 31), abs=1)
    with pace.due("other", 60) as due:
        assert due
    with pace.due("other", 60) as due:
        assert not due
