"""Bandits learn from what has had its time, and the ledger tells what other policies would have earned."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update
from tests.recommender.experiment_designs import SAID, started
from tests.recommender.experiments.test_experiment_results import begun
from tests.recommender.simulated_ledger import MINUTE, Visit, simulate, visits

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import experiments
from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender.config.checks import default_config
from nearfeed_recommender.experiments.assignment import ReaderFacts, assign
from nearfeed_recommender.experiments.lifecycle import ExperimentStore, stop_arm
from nearfeed_recommender.experiments.monitor import watch
from nearfeed_recommender.experiments.off_policy import Evaluation, NoSupportError, Policy, evaluate
from nearfeed_recommender.experiments.records import experiment_of
from nearfeed_recommender.experiments.schema import FEED_PLACE
from nearfeed_runtime.sql import read_connection, write_transaction

CHANCES = {"control": 0.05, "latest": 0.2}


@pytest.fixture
def store(world: Any) -> ExperimentStore:
    found: ExperimentStore = world.client.app.state.context.experiments
    return found


def shares(store: ExperimentStore) -> dict[str, float]:
    with read_connection(store.engine) as connection:
        return experiment_of(connection, "trial").traffic.shares


def test_thompson_learns_from_requests_that_have_had_their_time(store: ExperimentStore) -> None:
    begun(store, 3 * HOUR_MICROS, allocation={"type": "thompson", "floor": 0.1, "delay_minutes": 60})
    young = visits(200, 1, now_micros() - 10 * MINUTE)
    simulate(store.engine, store.live.current, young, lambda arm, _: CHANCES[arm])
    watch(store)
    assert shares(store) == pytest.approx({"control": 0.5, "latest": 0.5}, abs=0.02)
    old = visits(200, 2, now_micros() - 2 * HOUR_MICROS)
    simulate(store.engine, store.live.current, old, lambda arm, _: CHANCES[arm], seed=2)
    watch(store)
    assert shares(store) == pytest.approx({"control": 0.1, "latest": 0.9}, abs=0.02)
    assert sum(shares(store).values()) == pytest.approx(1)
    revision = store.live.current.revision
    watch(store)
    assert store.live.current.revision == revision


def by_context(arm: str, visit: Visit) -> float:
    """The latest posts are best for newcomers alone."""
    return 0.4 if (arm == "latest") == (visit.readings == 0) else 0.05


def test_lints_learns_by_context(store: ExperimentStore) -> None:
    begun(store, 3 * HOUR_MICROS, allocation={"type": "lints", "floor": 0.05})
    come = visits(400, 2, now_micros() - 2 * HOUR_MICROS, lambda number: 300 * (number % 2))
    simulate(store.engine, store.live.current, come, by_context)
    watch(store)
    assert shares(store) == pytest.approx({"control": 0.5, "latest": 0.5}, abs=0.05)
    now = now_micros()
    for readings, best in ((0, "latest"), (300, "control")):
        reader = ReaderFacts(frozenset(), readings)
        drawn = [assign(store.live.current, FEED_PLACE, f"u{n}", f"{n:016x}", now, reader) for n in range(50)]
        likely = [each.propensity if each.arm == best else 1 - each.propensity for each in drawn if each]
        assert min(likely) > 0.8


def value_of(store: ExperimentStore, **policy: Any) -> Evaluation:
    with read_connection(store.engine) as connection:
        return evaluate(connection, default_config(), Policy(**policy), now_micros())


def test_values_of_policies_are_those_of_the_truth(store: ExperimentStore) -> None:
    arms = {"control": None, "latest": "latest", "popular": "popular"}
    trial = begun(store, 3 * HOUR_MICROS, arms=arms, allocation={"type": "thompson"}, holdout=0.1)
    unequal = {"control": 0.2, "latest": 0.3, "popular": 0.5}
    layer = store.live.current.layers[FEED_PLACE]
    skewed = replace(trial, traffic=trial.traffic.model_copy(update={"shares": unequal}))
    now = replace(store.live.current, layers={FEED_PLACE: replace(layer, buckets=(skewed,) * 1_000)})
    come = visits(900, 2, now_micros() - 2 * HOUR_MICROS, lambda number: 300 * (number % 2))
    simulate(store.engine, now, come, lambda arm, visit: by_context(arm, visit) if arm != "popular" else 0.1)
    truth = {0.4: 1 - 0.6**3, 0.05: 1 - 0.95**3, 0.1: 1 - 0.9**3}
    always = value_of(store, provider="latest")
    mixed = value_of(store, provider="personal", rules=[{"readings_below": 10, "provider": "latest"}])
    popular = value_of(store, provider="popular", experiment="trial", metric="clicks_per_reader")
    for value, expected in (
        (always, (truth[0.4] + truth[0.05]) / 2),
        (mixed, truth[0.4]),
        (popular, truth[0.1]),
    ):
        for found in (value.ips, value.snips, value.doubly_robust):
            assert found.low - 0.05 < expected < found.high + 0.05
            assert found.estimate == pytest.approx(expected, abs=0.12)
        assert 50 < value.snips.effective_size < value.snips.requests
    wide = always.ips.high - always.ips.low
    assert always.doubly_robust.high - always.doubly_robust.low < wide


def test_values_are_those_of_the_truth_after_another_arm_was_stopped(store: ExperimentStore) -> None:
    arms = {"control": None, "latest": "latest", "popular": "popular"}
    shares = {"control": 1, "latest": 1, "popular": 2}
    begun(store, 8 * HOUR_MICROS, arms=arms, allocation={"type": "fixed", "shares": shares}, holdout=0.1)
    chances = {"control": 0.2, "latest": 0.1, "popular": 0.3, "holdout": 0.2}
    now = now_micros()
    early, late = visits(1_000, 1, now - 4 * HOUR_MICROS), visits(1_000, 2, now - 2 * HOUR_MICROS)
    simulate(store.engine, store.live.current, early, lambda arm, _: chances[arm])
    stop_arm(store, "trial", "popular", SAID)
    with read_connection(store.engine) as connection:
        trial = experiment_of(connection, "trial")
    stops = trial.traffic.model_copy(update={"stopped_at": {"popular": now - 3 * HOUR_MICROS}})
    with write_transaction(store.engine) as transaction:
        transaction.execute(update(experiments).values(traffic=stops.model_dump_json()))
    simulate(store.engine, store.live.current, late, lambda arm, _: chances[arm], seed=2)
    for provider, arm in (("personal", "control"), ("latest", "latest")):
        value = value_of(store, provider=provider)
        expected = 1 - (1 - chances[arm]) ** 3
        for found in (value.ips, value.snips, value.doubly_robust):
            assert found.low - 0.03 < expected < found.high + 0.03
            assert found.high - found.low < 0.25
    assert value_of(store, provider="popular").ips.requests < 1_000


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({"provider": "similar-to-last-read"}, "not all of them were arms of any experiment that has run"),
        ({"provider": "popular", "experiment": "trial"}, "not all of them were arms of experiment 'trial'"),
        ({"provider": "latest", "metric": "depth"}, "metric: depth is none of those of a request"),
        ({"provider": "latest"}, "no request of 'trial' whose window for outcomes has closed"),
    ],
)
def test_what_the_ledger_cannot_tell_is_said(store: ExperimentStore, policy: Any, told: str) -> None:
    started(store)
    with pytest.raises(NoSupportError, match=told):
        value_of(store, **policy)
