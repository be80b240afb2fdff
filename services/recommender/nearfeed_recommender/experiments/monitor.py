"""Monitors running experiments: guardrails stop arms, bandits are trained, results are stored."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from prometheus_client import Counter

from nearfeed_contracts.fields import now_micros
from nearfeed_recommender.config.versions import Statement
from nearfeed_recommender.experiments.bandit_training import learn
from nearfeed_recommender.experiments.guardrails import guardrails_of
from nearfeed_recommender.experiments.lifecycle import ExperimentStore, stop_arm
from nearfeed_recommender.experiments.records import Experiment, list_experiments
from nearfeed_recommender.experiments.report_schema import GuardrailOut
from nearfeed_recommender.experiments.results import is_whole, window_of
from nearfeed_recommender.experiments.schema import Fixed
from nearfeed_recommender.experiments.snapshots import keep_if_due
from nearfeed_recommender.experiments.sums import arm_sums
from nearfeed_runtime.sql import read_connection, sole_worker

REST = 30  # after a work it rests for so many times as long as it took: 3 % of the time at most


@dataclass
class Pace:
    """When each work is due again, by a clock in seconds; for one thread."""

    clock: Callable[[], float] = time.monotonic
    _due: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def due(self, work: str, least_seconds: float) -> Iterator[bool]:
        """Whether to do a work in the block: so many seconds after it last began, later if it took long."""
        began = self.clock()
        if began < self._due.get(work, began):
            yield False
            return
        try:
            yield True
        finally:
            ended = self.clock()
            self._due[work] = max(began + least_seconds, ended + REST * (ended - began))


logger = structlog.get_logger(__name__)
BROKEN = Counter("nearfeed_guardrails_broken_total", "Arms that a guardrail has stopped.", ["experiment"])
FAILED = Counter("nearfeed_experiments_watch_failures_total", "Looks at an experiment that have failed.")
AUTHOR = "nearfeed"
_LEAST_SECONDS = 60.0  # between looks at fixed arms; bandits learn whenever they are looked at


def watch(store: ExperimentStore, now: int | None = None, pace: Pace | None = None) -> int:
    """One look at all experiments; of several processes one alone looks. Returns how much was done.

    With a `pace` those that are not due are left out.
    """
    at = now_micros() if now is None else now
    with sole_worker(store.engine, "experiments") as alone:
        if not alone:
            return 0
        with read_connection(store.engine) as connection:
            found = list_experiments(connection)
        return sum(_watch_if_due(store, experiment, at, pace or Pace()) for experiment in found)


def _watch_if_due(store: ExperimentStore, experiment: Experiment, now: int, pace: Pace) -> int:
    """An experiment that has changed its state is due at once."""
    least = _LEAST_SECONDS if isinstance(experiment.design.allocation, Fixed) else 0.0
    with pace.due(f"{experiment.name} {experiment.state}", least) as due:
        return _watch(store, experiment, now) if due else 0


def _watch(store: ExperimentStore, experiment: Experiment, now: int) -> int:
    """What fails at one experiment leaves the others watched."""
    try:
        acted = 0
        if experiment.state == "running" and isinstance(experiment.design.allocation, Fixed):
            acted = guard(store, experiment, now)
        elif experiment.state == "running":
            acted = int(learn(store, experiment, now))
        return acted + int(keep_if_due(store.engine, experiment, now))
    except Exception:
        FAILED.inc()
        logger.exception("an experiment could not be watched", experiment=experiment.name)
        return 0


def guard(store: ExperimentStore, experiment: Experiment, now: int) -> int:
    """Stops the arms that break a guardrail; returns how many.

    None where the experiment is older than the ledger, whose intervals would not hold at all looks.
    """
    window = window_of(experiment, now)
    if not experiment.design.guardrails or not is_whole(experiment, window):
        return 0
    with read_connection(store.engine) as connection:
        sums = arm_sums(connection, window)
    found = guardrails_of(experiment, sums, earlier=window.days_before > 0)
    broken = {each.arm: each for each in reversed(found) if each.broken}
    for arm, guardrail in broken.items():
        reason = describe_guardrail(guardrail)
        logger.warning("guardrail broken", experiment=experiment.name, arm=arm, reason=reason)
        stop_arm(store, experiment.name, arm, Statement(author=AUTHOR, reason=reason))
        BROKEN.labels(experiment.name).inc()
    return len(broken)


def describe_guardrail(guardrail: GuardrailOut) -> str:
    """Why an arm stops."""
    least = guardrail.loss.low if guardrail.loss else 0.0
    if guardrail.absolute:
        lost, most = f"{least:.4g} or more, where the control has none", f"{guardrail.most_at_zero:.4g}"
    else:
        lost, most = f"{least:.1%} or more", f"{guardrail.most_loss:.1%}"
    return f"guardrail {guardrail.metric}: arm {guardrail.arm} loses {lost}, and {most} is the most allowed"
