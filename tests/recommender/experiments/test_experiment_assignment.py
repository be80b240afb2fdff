"""Assignment: sticky by unit, apart in a layer, nested holdouts, kept through ramps and merges."""

from collections import Counter
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert
from tests.recommender.experiment_designs import design_of

from nearfeed_contracts.tables import served_requests
from nearfeed_recommender.experiments.assignment import Assignment, ReaderFacts, assign
from nearfeed_recommender.experiments.live import Running, layers_of, resized
from nearfeed_recommender.experiments.records import Experiment
from nearfeed_recommender.experiments.schema import FEED_PLACE, Traffic, first_shares
from nearfeed_recommender.identity.links import forget_units, merge_ids, unit_of
from nearfeed_runtime.sql import read_connection, write_transaction

ANYBODY = ReaderFacts(frozenset(), 0)
UNITS = [f"reader-{number}" for number in range(2_000)]


def running(size: int = 1_000, first: int = 0, name: str = "trial", **changes: Any) -> Experiment:
    design = design_of(name, **changes)
    traffic = Traffic(buckets=((first, first + size),), shares=first_shares(design))
    return Experiment(name, 1, 1, "running", design, traffic, 0, started_at=0)


def arm_at(experiments: list[Experiment], unit: str, nonce: str = "0", **facts: Any) -> Assignment | None:
    reader = ANYBODY._replace(**facts)
    return assign(Running(1, layers_of(experiments)), FEED_PLACE, unit, nonce, 0, reader)


def test_arms_have_their_shares_and_stick() -> None:
    trial = running(allocation={"type": "fixed", "shares": {"control": 3, "latest": 1}})
    found = {unit: arm_at([trial], unit) for unit in UNITS}
    assert all(found[unit] == arm_at([trial], unit, nonce="other") for unit in UNITS)
    counts = Counter(each.arm for each in found.values() if each)
    assert counts.total() == len(UNITS)
    assert abs(counts["latest"] / len(UNITS) - 0.25) < 0.04
    one = next(each for each in found.values() if each and each.arm == "latest")
    assert (one.provider, one.propensity, one.index, one.number) == ("latest", 0.25, 1, 1)


def test_growing_moves_nobody() -> None:
    small, large = running(200), running(700)
    inside = {unit: found for unit in UNITS if (found := arm_at([small], unit))}
    assert abs(len(inside) / len(UNITS) - 0.2) < 0.04
    assert all(arm_at([large], unit) == found for unit, found in inside.items())
    grown = resized(small.traffic.buckets, [], 700)
    assert grown == large.traffic.buckets


def test_a_reader_is_in_one_experiment_of_a_layer() -> None:
    both = [running(500, 0, "a"), running(500, 500, "b")]
    names = Counter(found.experiment for unit in UNITS if (found := arm_at(both, unit)))
    assert names.total() == len(UNITS)
    assert abs(names["a"] - names["b"]) < 200


def test_holdouts_nest_and_get_what_is_configured() -> None:
    small, large = running(holdout=0.05), running(name="other", holdout=0.2)
    held = [{unit for unit in UNITS if _arm(arm_at([each], unit)) == "holdout"} for each in (small, large)]
    assert held[0] < held[1]
    assert abs(len(held[1]) / len(UNITS) - 0.2) < 0.04
    found = arm_at([large], min(held[1]))
    assert found is not None
    assert (found.provider, found.propensity, found.index) == (None, 0.2, 2)
    shown = next(each for unit in UNITS if (each := arm_at([large], unit)) and each.arm == "latest")
    assert shown.propensity == pytest.approx(0.4)


def _arm(found: Assignment | None) -> str | None:
    return found.arm if found else None


@given(st.frozensets(st.sampled_from("abc")), st.integers(0, 600))
def test_the_audience_is_what_it_says(communities: frozenset[str], readings: int) -> None:
    audience = {"communities": ["a", "b"], "readings_from": 3, "readings_below": 10}
    found = arm_at([running(audience=audience)], "reader", communities=communities, readings=readings)
    assert (found is not None) == (bool(communities & {"a", "b"}) and 3 <= readings < 10)


def test_a_stopped_arm_is_not_assigned() -> None:
    trial = running()
    stopped = trial.traffic.model_copy(update={"stopped": {"latest": "worse"}})
    without = Experiment(**{**vars(trial), "traffic": stopped})
    for unit in UNITS[:200]:
        before, after = arm_at([trial], unit), arm_at([without], unit)
        assert after == (before if before and before.arm == "control" else None)


@pytest.mark.parametrize("allocation", [{"type": "thompson", "floor": 0.1}, {"type": "lints", "floor": 0.1}])
def test_bandits_draw_for_each_request_by_the_chance_that_they_log(allocation: dict[str, Any]) -> None:
    trial = running(allocation=allocation)
    found = [arm_at([trial], "reader", nonce=f"{number:016x}") for number in range(600)]
    assert found[0] == arm_at([trial], "reader", nonce=f"{0:016x}")
    counts = Counter(_arm(each) for each in found)
    assert counts.keys() == {"control", "latest"}
    assert abs(counts["latest"] / 600 - 0.5) < 0.1
    assert all(each and 0.1 <= each.propensity <= 0.9 for each in found)


def test_nothing_is_assigned_elsewhere() -> None:
    layers = layers_of([running(target={"page": "home", "section": "popular"})])
    assert assign(Running(1, layers), FEED_PLACE, "reader", "0", 0, ANYBODY) is None


def serve(world: Any, user_id: str, at: int) -> None:
    row = {"request_id": f"{user_id} {at}", "section": "feed", "user_id": user_id, "served_at": at}
    with write_transaction(world.engine) as transaction:
        transaction.execute(
            insert(served_requests).values(**row, provider="p", config_version=0, reader="{}")
        )


CALLS = [("user", "phone"), ("user", "tablet"), ("user", "laptop")]


@pytest.mark.parametrize("calls", list(permutations(CALLS)))
def test_the_first_that_was_served_keeps_its_assignment_in_any_order(
    world: Any, calls: list[tuple[str, str]]
) -> None:
    for at, user_id in enumerate(["tablet", "user", "phone"], 10):
        serve(world, user_id, at)
    for call in (*calls, calls[0]):
        with write_transaction(world.engine) as transaction:
            merge_ids(transaction, *call)
    with read_connection(world.engine) as connection:
        units = {each: unit_of(connection, each) for each in ("user", "phone", "tablet", "laptop", "else")}
    assert units == dict.fromkeys(("user", "phone", "tablet", "laptop"), "tablet") | {"else": "else"}


def test_who_was_never_served_keeps_the_id_that_was_there_first(world: Any) -> None:
    with write_transaction(world.engine) as transaction:
        assert merge_ids(transaction, "user", "phone") == "phone"
        assert merge_ids(transaction, "user", "tablet") == "phone"
        forget_units(transaction, "phone")
        assert unit_of(transaction, "user") == "user"


def test_a_merge_outlives_the_ledger(world: Any) -> None:
    serve(world, "phone", 10)
    with write_transaction(world.engine) as transaction:
        merge_ids(transaction, "user", "phone")
        transaction.execute(served_requests.delete())
    serve(world, "tablet", 20)
    with write_transaction(world.engine) as transaction:
        assert merge_ids(transaction, "user", "tablet") == "phone"
