"""Guardrails: what fails as a whole is a loss too, and what does not differ is none."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.recommender.experiment_designs import design_of

from nearfeed_core.experiments.sequences import tuned_for
from nearfeed_recommender.experiments.guardrails import guardrail_tuning, guardrails_of
from nearfeed_recommender.experiments.measures import COLUMNS, pairs
from nearfeed_recommender.experiments.monitor import describe_guardrail
from nearfeed_recommender.experiments.records import Experiment
from nearfeed_recommender.experiments.report_schema import GuardrailOut
from nearfeed_recommender.experiments.schema import Traffic

READERS = 10_000
Readers = Mapping[str, NDArray[np.float64]]


def every(nth: int) -> NDArray[np.float64]:
    """1 for every nth reader, else 0."""
    return (np.arange(READERS) % nth == 0).astype(float)


ALL, NOBODY = every(1), np.zeros(READERS)
GOOD = {"requests": 5 * ALL, "impressions": 10 * ALL, "clicks": every(5), "took": 50 * ALL, "timed": 5 * ALL}


def row(readers: Readers) -> dict[str, Any]:
    """The sums of an arm."""
    columns = {name: readers.get(name, NOBODY) for name in COLUMNS}
    products = {f"{a}*{b}": float(columns[a] @ columns[b]) for a, b in pairs()}
    return {"units": READERS} | {name: float(value.sum()) for name, value in columns.items()} | products


def found(control: Readers, latest: Readers, earlier: bool = False, **guardrail: Any) -> GuardrailOut:
    design = design_of(guardrails=[guardrail])
    trial = Experiment("trial", 1, 1, "running", design, Traffic(), 0, started_at=0)
    (only,) = guardrails_of(trial, {"control": row(control), "latest": row(latest)}, earlier=earlier)
    return only


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        {"clicks": NOBODY},
        {"clicks": every(3_000)},
        {"clicks": NOBODY, "impressions": NOBODY},
        {"clicks": NOBODY, "impressions": NOBODY, "took": NOBODY, "timed": NOBODY},
    ],
)
def test_an_arm_without_clicks_is_a_loss_of_all(change: Readers, earlier: bool) -> None:
    before = {"earlier_clicks": every(7), "earlier_impressions": 4 * every(2)} if earlier else {}
    lost = found(GOOD | before, {**GOOD, **change, **before}, earlier, metric="ctr", most_loss=0.5)
    assert lost.broken
    assert lost.loss is not None
    assert lost.loss.estimate == pytest.approx(1, abs=0.02)
    assert describe_guardrail(lost).startswith("guardrail ctr: arm latest loses ")


@pytest.mark.parametrize(
    ("metric", "change", "absolute", "broken"),
    [
        ("hides_per_reader", {"hides": every(20)}, True, True),
        ("hides_per_reader", {"hides": every(200)}, True, False),
        ("failed", {"failed": 5 * ALL}, False, True),
        ("failed", {"failed": every(1_000)}, False, False),
        ("clicks_per_reader", {"clicks": NOBODY}, False, True),
        ("likes_per_reader", {"likes": every(3)}, True, False),
        ("took_ms", {"took": 80 * ALL}, False, True),
        *((metric, {}, False, False) for metric in ("ctr", "clicks_per_reader", "took_ms", "failed")),
    ],
)
def test_what_the_control_has_nothing_of_is_compared_as_it_is(
    metric: str, change: Readers, absolute: bool, broken: bool
) -> None:
    lost = found(GOOD, {**GOOD, **change}, metric=metric, most_loss=0.05)
    assert (lost.absolute, lost.broken) == (absolute, broken)
    if absolute and broken:
        assert "where the control has none, and 0.01 is the most allowed" in describe_guardrail(lost)


def test_guardrails_are_for_large_losses_and_share_alpha() -> None:
    one = design_of(guardrails=[{"metric": "ctr"}])
    two = design_of(guardrails=[{"metric": "ctr"}, {"metric": "took_ms"}], holdout=0.1)
    tunings = [
        guardrail_tuning(Experiment("trial", 1, 1, "running", design, Traffic(), 0)) for design in (one, two)
    ]
    assert [tuning.alpha for tuning in tunings] == [0.05, 0.05 / 4]
    assert tunings[0] == tuned_for(0.5, alpha=0.05)
