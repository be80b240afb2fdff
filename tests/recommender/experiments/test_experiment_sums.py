"""Sums by the database are those that a loop over all rows makes, on SQLite and on MySQL alike."""

import random
from collections import defaultdict
from math import ceil
from typing import Any

import pytest
from sqlalchemy import insert, update

from nearfeed_contracts.tables import outcomes, served_items, served_requests
from nearfeed_core.experiments.clusters import sums_of
from nearfeed_core.readings import DAY_MICROS, HOUR_MICROS
from nearfeed_recommender.experiments.daily import daily, percentiles, sessions
from nearfeed_recommender.experiments.measures import COLUMNS, RATIOS, pairs, unit_sums
from nearfeed_recommender.experiments.schema import Place
from nearfeed_recommender.experiments.sums import (
    KINDS,
    Window,
    arm_sums,
    first_answer,
    mixed_readers,
)
from nearfeed_recommender.identity.links import merge_ids
from nearfeed_runtime.sql import read_connection, write_transaction

START = 100 * DAY_MICROS
ATTRIBUTIONS = ("explicit", "explicit", "view_through", "invalid_request_id", "not_in_response")
KIND = {kind: name for name, kinds in KINDS.items() for kind in kinds}


class Rows:
    """A random ledger: requests of an experiment and others, in two sections, with outcomes of all sorts."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.requests = [self._request(number) for number in range(60)]
        self.items = [
            {"request_id": row["request_id"], "section": row["section"], "position": position}
            | {"item_id": f"{row['section']}-{position}", "source": "s", "score": 0.0, "inputs": "{}"}
            for row in self.requests
            for position in range(4)
        ]
        found = [self._outcome(number) for number in range(300)]
        self.outcomes = list(
            {(r["user_id"], r["item_id"], r["kind"], r["occurred_at"]): r for r in found}.values()
        )

    def _request(self, number: int) -> dict[str, Any]:
        user = f"u{self.chance.randrange(12)}"
        return {
            "request_id": f"r{number // 2}", "section": ("feed", "other")[number % 2], "user_id": user,
            "served_at": START + self.chance.randrange(-1, 3) * DAY_MICROS + number,
            "page": None, "provider": "p", "config_version": 0, "reader": "{}",
            "experiment": self.chance.choice(["trial", "trial", "else", None]),
            "arm": self.chance.choice(["a", "b"]),
            "unit_id": "u0" if user == "u1" else None,
            "state": self.chance.choice(["whole", "degraded", "failed"]),
            "took_ms": self.chance.choice([None, 1.5, 2.0, 7.25]),
        }  # fmt: skip

    def _outcome(self, number: int) -> dict[str, Any]:
        request = self.chance.choice(self.requests)
        return {
            "user_id": request["user_id"], "item_id": f"{request['section']}-{self.chance.randrange(5)}",
            "kind": self.chance.choice([*KIND, "save"]),
            "occurred_at": START + self.chance.randrange(-4, 3) * DAY_MICROS + number,
            "request_id": self.chance.choice([request["request_id"], None]),
            "attribution": self.chance.choice(ATTRIBUTIONS),
        }  # fmt: skip

    def answers(self, **where: Any) -> list[dict[str, Any]]:
        return [
            row
            for row in self.requests
            if START <= row["served_at"] < START + 2 * DAY_MICROS
            and all(row[name] == value for name, value in where.items())
        ]

    def of(self, answer: dict[str, Any]) -> dict[str, float]:
        places = {f"{answer['section']}-{position}": position + 1 for position in range(4)}
        came = {
            (row["item_id"], row["kind"])
            for row in self.outcomes
            if row["request_id"] == answer["request_id"]
            and row["attribution"] in ("explicit", "view_through")
            and row["item_id"] in places
        }
        counts: dict[str, float] = dict.fromkeys((*KINDS, "depth"), 0)
        for item, kind in came:
            if kind in KIND:
                counts[KIND[kind]] += 1
            if kind == "impression":
                counts["depth"] = max(counts["depth"], places[item])
        return counts

    def sums(self, answers: list[dict[str, Any]], days: int) -> dict[str, dict[str, dict[str, float]]]:
        """By arm and unit."""
        found: Any = defaultdict(lambda: defaultdict(lambda: dict.fromkeys(COLUMNS, 0)))
        users = defaultdict(set)
        for answer in answers:
            unit = answer["unit_id"] or answer["user_id"]
            users[unit].add(answer["user_id"])
            row = found[answer["arm"]][unit]
            for name, count in self.of(answer).items():
                row[name] += count
            row["requests"] += 1
            row["took"] += answer["took_ms"] or 0
            row["timed"] += answer["took_ms"] is not None
            for state in ("degraded", "failed"):
                row[state] += answer["state"] == state
        for units in found.values():
            for unit, row in units.items():
                for did in self.outcomes:
                    early = START - days * DAY_MICROS <= did["occurred_at"] < START
                    if early and did["user_id"] in users[unit] and did["kind"] in KIND:
                        row[f"earlier_{KIND[did['kind']]}"] += 1
        return found


@pytest.fixture(params=range(3))
def rows(request: pytest.FixtureRequest, world: Any) -> Rows:
    found = Rows(request.param)
    with write_transaction(world.engine) as transaction:
        transaction.execute(insert(served_requests), found.requests)
        transaction.execute(insert(served_items), found.items)
        transaction.execute(insert(outcomes), found.outcomes)
    return found


def test_sums_are_those_of_a_loop(world: Any, rows: Rows) -> None:
    window = Window(START, START + 2 * DAY_MICROS, "trial", days_before=3)
    expected = rows.sums(rows.answers(experiment="trial"), 3)
    with read_connection(world.engine) as connection:
        found = arm_sums(connection, window)
        mixed = mixed_readers(connection, window)
    assert found.keys() == expected.keys()
    for arm, units in expected.items():
        assert found[arm]["units"] == len(units)
        for name in COLUMNS:
            assert found[arm][name] == pytest.approx(sum(row[name] for row in units.values())), name
        for a, b in pairs():
            assert found[arm][f"{a}*{b}"] == pytest.approx(sum(row[a] * row[b] for row in units.values()))
    assert mixed == len(set(expected["a"]) & set(expected["b"]))


def test_ids_that_were_merged_late_are_one_reader(world: Any, rows: Rows) -> None:
    window = Window(START, START + 2 * DAY_MICROS, "trial", days_before=3)
    with write_transaction(world.engine) as transaction:
        unit = merge_ids(transaction, "u2", "u3")
        assert merge_ids(transaction, "u4", "u3") == unit
    for row in rows.requests:
        if row["user_id"] in ("u2", "u3", "u4"):
            row["unit_id"] = unit
    expected = rows.sums(rows.answers(experiment="trial"), 3)
    with read_connection(world.engine) as connection:
        found = arm_sums(connection, window)
        assert mixed_readers(connection, window) == len(set(expected["a"]) & set(expected["b"]))
    for arm, units in expected.items():
        assert found[arm]["units"] == len(units)
        for name in COLUMNS:
            squares = sum(row[name] ** 2 for row in units.values())
            if (name, name) in set(pairs()):
                assert found[arm][f"{name}*{name}"] == pytest.approx(squares)


def test_the_sums_of_each_metric_are_those_of_its_readers(world: Any, rows: Rows) -> None:
    window = Window(START, START + 2 * DAY_MICROS, "trial", days_before=3)
    units = list(rows.sums(rows.answers(experiment="trial"), 3)["a"].values())
    with read_connection(world.engine) as connection:
        found = arm_sums(connection, window)["a"]
    for metric, columns in RATIOS.items():
        values = [
            None if name == "none" else [1.0 if name == "one" else row[name] for row in units]
            for name in columns
        ]
        expected = sums_of(*values)  # type: ignore[arg-type]
        one = unit_sums(found, metric, earlier=True)
        assert one.units == expected.units
        assert one.totals == pytest.approx(expected.totals)
        for row, other in zip(one.products, expected.products, strict=True):
            assert row == pytest.approx(other)
    plain = unit_sums(found, "ctr", earlier=False)
    assert plain.totals[2:] == (0.0, 0.0)


def test_a_place_is_one_arm(world: Any, rows: Rows) -> None:
    window = Window(START, START + 2 * DAY_MICROS, place=Place(None, "feed"))
    answers = rows.answers(section="feed")
    with read_connection(world.engine) as connection:
        found = arm_sums(connection, window)["all"]
        first, third = (first_answer(connection, Place(None, "feed"), most) for most in (1_000, 3))
        assert first_answer(connection, Place("home", "feed"), 3) is None
    assert found["requests"] == len(answers)
    assert found["clicks"] == sum(rows.of(answer)["clicks"] for answer in answers)
    times = sorted(row["served_at"] for row in rows.requests if row["section"] == "feed")
    assert (first, third) == (times[0], times[-3])


def times_of(answers: list[dict[str, Any]]) -> list[float | None]:
    """Percentiles 50 and 95."""
    took = sorted(row["took_ms"] for row in answers if row["took_ms"])
    return [took[ceil(len(took) * percent / 100) - 1] if took else None for percent in (50, 95)]


def test_days_and_percentiles(world: Any, rows: Rows) -> None:
    window = Window(START, START + 2 * DAY_MICROS, "trial")
    answers = rows.answers(experiment="trial")
    with read_connection(world.engine) as connection:
        days, times = daily(connection, window), percentiles(connection, window)
    for day in days:
        own = [
            row
            for row in answers
            if row["arm"] == day["arm"] and row["served_at"] // DAY_MICROS * DAY_MICROS == day["at"]
        ]
        assert day["requests"] == len(own)
        assert day["readers"] == len({row["unit_id"] or row["user_id"] for row in own})
        assert day["reads"] == sum(rows.of(row)["reads"] for row in own)
        assert day["depth"] == pytest.approx(sum(rows.of(row)["depth"] for row in own) / len(own))
        for state in ("degraded", "failed"):
            assert day[state] == sum(row["state"] == state for row in own)
        assert [day["took_p50_ms"], day["took_p95_ms"]] == times_of(own)
    assert sum(day["requests"] for day in days) == len(answers)
    for arm, found in times.items():
        assert list(found.values()) == times_of([row for row in answers if row["arm"] == arm])


def test_sessions_end_where_a_reader_stays_away(world: Any, rows: Rows) -> None:
    chance = random.Random(0)
    with write_transaction(world.engine) as transaction:
        for row in rows.requests:
            row["served_at"] = START + chance.randrange(8 * HOUR_MICROS)
            key = (
                served_requests.c.request_id == row["request_id"],
                served_requests.c.section == row["section"],
            )
            transaction.execute(update(served_requests).where(*key).values(served_at=row["served_at"]))
    begun: dict[str, int] = defaultdict(int)
    last: dict[tuple[str, str], int] = {}
    for row in sorted(rows.answers(experiment="trial"), key=lambda row: row["served_at"]):
        reader = (row["arm"], row["unit_id"] or row["user_id"])
        begun[row["arm"]] += row["served_at"] - last.get(reader, 0) >= HOUR_MICROS // 2
        last[reader] = row["served_at"]
    window = Window(START, START + 2 * DAY_MICROS, "trial")
    with read_connection(world.engine) as connection:
        days = daily(connection, window)
    assert sessions(days) == begun
    assert {day["arm"]: day["sessions"] for day in days} == begun
    assert max(begun.values()) > len({unit for _, unit in last})
