"""Bandits learn: what came of their requests becomes the chances by which the next ones are drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from nearfeed_core.experiments.bandits import LinearArm, learned, linear_propensities, propensities
from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender.experiments.bandit_features import DIM, arm_document, context_of, linear_arm
from nearfeed_recommender.experiments.lifecycle import ExperimentStore, set_learned
from nearfeed_recommender.experiments.records import Experiment
from nearfeed_recommender.experiments.rewards import counts_by
from nearfeed_recommender.experiments.schema import LinTS, Thompson
from nearfeed_runtime.sql import read_connection

_MOST_CONTEXTS = 200  # over which the shares that are shown are told
Learned = tuple[dict[str, float], dict[str, Any]]


def learn(store: ExperimentStore, experiment: Experiment, now: int) -> bool:
    """Brings a bandit up to date; returns whether there was anything new."""
    allocation = experiment.design.allocation
    with read_connection(store.engine) as connection:
        if isinstance(allocation, Thompson):
            shares, found = _by_arm(connection, experiment, allocation, now)
        elif isinstance(allocation, LinTS):
            shares, found = _by_context(connection, experiment, allocation, now)
        else:
            return False
    if found == experiment.traffic.learned:
        return False
    set_learned(store, experiment.name, shares, found)
    return True


def _by_arm(connection: Connection, experiment: Experiment, allocation: Thompson, now: int) -> Learned:
    counts = {row["arm"]: row for row in counts_by(connection, experiment, now, "arm")}
    arms = experiment.live_arms
    none = {"trials": 0, "successes": 0}
    found = {arm: {name: counts.get(arm, none)[name] for name in none} for arm in arms}
    successes, trials = ([found[arm][name] for arm in arms] for name in ("successes", "trials"))
    chances = propensities(successes, trials, seed=sum(trials), floor=allocation.floor)
    return dict(zip(arms, map(float, chances), strict=True)), found


def _by_context(connection: Connection, experiment: Experiment, allocation: LinTS, now: int) -> Learned:
    rows = counts_by(connection, experiment, now, "arm", "readings", "hour")
    contexts = np.array([context_of(row["readings"], int(row["hour"]) * HOUR_MICROS) for row in rows])
    contexts = contexts.reshape(len(rows), DIM)
    trials, successes = (np.array([row[name] for row in rows], float) for name in ("trials", "successes"))
    arms = experiment.live_arms
    found = []
    for arm in arms:
        own = np.array([row["arm"] == arm for row in rows], bool)
        found.append(_learned(linear_arm(None, allocation), contexts[own], trials[own], successes[own]))
    shares = _shares(found, contexts, trials, allocation) if rows else np.full(len(arms), 1 / len(arms))
    documents = {arm: arm_document(one) for arm, one in zip(arms, found, strict=True)}
    return dict(zip(arms, map(float, shares), strict=True)), documents


def _learned(
    prior: LinearArm,
    contexts: NDArray[np.float64],
    trials: NDArray[np.float64],
    successes: NDArray[np.float64],
) -> LinearArm:
    """Rows of a context that `trials` requests had are one row of the weight of all."""
    weight = np.sqrt(trials)
    return learned(prior, contexts * weight[:, None], successes / weight)


def _shares(
    arms: Sequence[LinearArm],
    contexts: NDArray[np.float64],
    trials: NDArray[np.float64],
    allocation: LinTS,
) -> NDArray[np.float64]:
    """The arms' chances over the contexts that were most frequent."""
    often = np.argsort(-trials, kind="stable")[:_MOST_CONTEXTS]
    chances = linear_propensities(
        arms, contexts[often], seed=int(trials.sum()), floor=allocation.floor, scale=allocation.scale
    )
    return np.asarray(np.average(chances, axis=0, weights=trials[often]))
