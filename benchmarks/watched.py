"""Experiments watched daily for four weeks, in a simulation: false alarms, and lifts that are found.

    python -m benchmarks.watched

Writes benchmarks/results/watched.csv. `sequence` is the share of experiments of which the confidence sequence
said at a look that the arms differ, `z` that of a test for one look. Where there is a lift, the number of
readers is the one that sizing gives, from a community of its own kind without one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from statistics import NormalDist

import numpy as np

from benchmarks.results_file import put_rows
from nearfeed_core.experiments.clusters import Estimate, UnitSums, ratio
from nearfeed_core.experiments.cuped import adjusted
from nearfeed_core.experiments.sequences import POWER, Tuning, lift, tuned_for
from nearfeed_core.experiments.simulation import Community, watched
from nearfeed_core.experiments.sizing import readers_needed

RESULTS = Path(__file__).parent / "results" / "watched.csv"
EXPERIMENTS = 1_000
PILOT = 20_000
AT_ONCE = 250
ONE_LOOK = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Case:
    """A community, how its metric is made, and the lift that the sequence is tuned for."""

    readers: str
    metric: str
    community: Community
    tuned: float
    lift: float = 0.0
    per_reader: bool = False
    cuped: bool = False


GROWING = Community(readers=300)
COHORT = replace(GROWING, there=1.0)
UNEVEN = replace(GROWING, activity=0.2, taste=3.0)
EAGER = Community(readers=1, visits=3.0, activity=2.0, rate=0.5, taste=60.0)
CASES = (
    Case("come over four weeks", "CTR", GROWING, 0.3),
    Case("come over four weeks", "CTR with CUPED", GROWING, 0.3, cuped=True),
    Case("all there on the first day", "CTR", COHORT, 0.3),
    Case("few bring most visits", "CTR", UNEVEN, 0.3),
    Case("few bring most visits", "clicks per reader", UNEVEN, 0.5, per_reader=True),
    Case("click rarely", "CTR", replace(GROWING, rate=0.02), 0.5),
    Case("come over four weeks", "CTR", EAGER, 0.05, lift=0.05),
    Case("all there on the first day", "CTR", replace(EAGER, there=1.0), 0.05, lift=0.05),
    Case(
        "all there on the first day", "CTR with CUPED", replace(EAGER, there=1.0), 0.05, lift=0.05, cuped=True
    ),
)


def main() -> None:
    rows = [measured(case) for case in CASES]
    put_rows(RESULTS, rows, of=itemgetter("readers", "metric", "lift"))


def measured(case: Case) -> dict[str, str]:
    """The row of a case."""
    sized = sized_for(case) if case.lift else 2 * case.community.readers
    community = replace(case.community, readers=-(-sized // 2))
    sequence, z = called(case, community)
    return {
        "readers": case.readers,
        "metric": case.metric,
        "lift": f"{case.lift:g}",
        "tuned_for": f"{case.tuned:g}",
        "number": str(2 * community.readers),
        "promised": f"{POWER:g}" if case.lift else "",
        "sequence": f"{sequence:.3f}",
        "z": f"{z:.3f}",
        "experiments": str(EXPERIMENTS),
        "days": str(community.days),
    }


def sized_for(case: Case) -> int:
    """Readers that sizing wants, from what it finds in a large community without a lift."""
    pilot = replace(case.community, readers=PILOT)
    *_, [arms] = watched(pilot, experiments=1, per_reader=case.per_reader, seed=1)
    control, _ = estimates_of(arms, case.cuped)
    assert control is not None
    return readers_needed(case.lift, control.unit_variance, power=POWER)


def called(case: Case, community: Community) -> tuple[float, float]:
    """Shares of the experiments that are called different at a look, by the sequence and by a z-test."""
    tuning = tuned_for(case.tuned, power=POWER)
    found = [
        marks
        for part in range(EXPERIMENTS // AT_ONCE)
        for marks in _marks(case, community, tuning, seed=2 + part)
    ]
    by_sequence, by_z = np.mean(found, axis=0)
    return float(by_sequence), float(by_z)


def estimates_of(arms: tuple[UnitSums, UnitSums], cuped: bool) -> tuple[Estimate | None, Estimate | None]:
    named: Mapping[str, UnitSums] = dict(zip("ct", arms, strict=True))
    found = adjusted(named).estimates if cuped else {name: ratio(sums) for name, sums in named.items()}
    return found["c"], found["t"]


def _marks(case: Case, community: Community, tuning: Tuning, seed: int) -> Iterator[tuple[bool, bool]]:
    days = watched(community, experiments=AT_ONCE, lift=case.lift, per_reader=case.per_reader, seed=seed)
    for looks in zip(*days, strict=True):
        told = [_told(*estimates_of(arms, case.cuped), tuning) for arms in looks]
        yield any(sequence for sequence, _ in told), any(z for _, z in told)


def _told(control: Estimate | None, treatment: Estimate | None, tuning: Tuning) -> tuple[bool, bool]:
    found = lift(control, treatment, tuning)
    if found is None or control is None or treatment is None:
        return False, False
    error = (control.variance + treatment.variance) ** 0.5
    return found.sign != 0, abs(treatment.mean - control.mean) > ONE_LOOK * error


if __name__ == "__main__":
    main()
