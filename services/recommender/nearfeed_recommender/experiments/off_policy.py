"""What a provider or a policy would have earned, from requests whose arm was drawn by a known chance.

The ledger can tell only of what it has seen: every provider of the policy must have been an arm of one
experiment, by its hash or a bandit's draw. Of a provider that was never shown nothing is known, for no
position of an answer is drawn by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from sqlalchemy import Connection, desc, or_
from sqlalchemy.sql.expression import ColumnElement

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.fields import Id
from nearfeed_contracts.tables import served_requests
from nearfeed_core.experiments.assignment import position
from nearfeed_core.experiments.bandits import LinearArm, learned, new_arm
from nearfeed_core.experiments.off_policy import Logged, Value, doubly_robust, ips, snips
from nearfeed_recommender.config.schema import Config, Part
from nearfeed_recommender.experiments.bandit_features import DIM, context_of
from nearfeed_recommender.experiments.records import Experiment, experiment_of, list_experiments
from nearfeed_recommender.experiments.rewards import requests_of
from nearfeed_recommender.experiments.schema import REWARDS, Fixed, Metric, Name, Place, first_shares

MOST_REQUESTS = 200_000
Values = NDArray[np.float64]


class NoSupportError(NearfeedError):
    """A policy of which the ledger cannot tell."""


class Rule(Part):
    """Readers with fewer readings get this provider."""

    readings_below: Annotated[int, Field(ge=1, le=512)]
    provider: Id


class Policy(Part):
    """The provider of the first rule that fits a reader, or else `provider`.

    `experiment` is the one whose requests are weighed, the newest that had all these providers as arms
    where none is named; `metric` is that of the experiment, where it is one of actions, or ctr.
    """

    provider: Id
    rules: Annotated[tuple[Rule, ...], Field(max_length=10)] = ()
    experiment: Name | None = None
    metric: Metric | None = None


class ValueOut(BaseModel):
    """A share of requests with its interval of 95 %, which holds for one look.

    `effective_size` is how many requests drawn by the policy itself would tell as much.
    """

    estimate: float
    low: float
    high: float
    effective_size: float
    requests: int
    readers: int


class Evaluation(BaseModel):
    """What a policy would have earned: the share of requests of which the metric's action came.

    `logged` is what those requests did earn; the three estimates weigh them by inverse propensities, by
    these normalised, and with a model of the rewards (doubly robust).
    """

    experiment: str
    metric: Metric
    logged: float
    ips: ValueOut
    snips: ValueOut
    doubly_robust: ValueOut


@dataclass(frozen=True)
class _Rows:
    """Requests (rows): unit, index of the arm, chance of it, context (rows, DIM), readings, reward."""

    units: list[str]
    arms: NDArray[np.intp]
    chances: Values
    contexts: Values
    readings: Values
    rewards: Values


def evaluate(connection: Connection, config: Config, policy: Policy, now: int) -> Evaluation:
    """Raises NoSupportError, OffPolicyError and NotFoundError."""
    wanted = [*(rule.provider for rule in policy.rules), policy.provider]
    experiment = _experiment(connection, config, policy, wanted)
    metric = policy.metric or (experiment.design.metric if experiment.design.metric in REWARDS else "ctr")
    if metric not in REWARDS:
        raise NoSupportError(f"metric: {metric} is none of those of a request; take {', '.join(REWARDS)}.")
    arms = _arms(experiment, config)
    rows = _rows(connection, experiment, metric, [arms[provider] for provider in wanted], now)
    taken = _targets(policy, [list(experiment.design.arms).index(arms[p]) for p in wanted], rows.readings)
    logged = _logged(rows, taken, len(experiment.design.arms))
    return Evaluation(
        experiment=experiment.name,
        metric=metric,
        logged=float(rows.rewards.mean()),
        ips=_out(ips(logged)),
        snips=_out(snips(logged)),
        doubly_robust=_out(doubly_robust(logged)),
    )


def _experiment(connection: Connection, config: Config, policy: Policy, wanted: Sequence[str]) -> Experiment:
    if policy.experiment is not None:
        candidates = [experiment_of(connection, policy.experiment)]
    else:
        candidates = [found for found in list_experiments(connection) if found.state != "draft"]
    for experiment in candidates:
        if set(wanted) <= _arms(experiment, config).keys():
            return experiment
    where = f"experiment {policy.experiment!r}" if policy.experiment else "any experiment that has run"
    raise NoSupportError(
        f"provider: {', '.join(dict.fromkeys(wanted))} cannot be told of, for not all of them were arms of "
        f"{where}: the ledger knows only of providers that were shown by chance. Give each an arm with a "
        "small share (`experiments apply`), and evaluate when it has been served."
    )


def _arms(experiment: Experiment, config: Config) -> dict[str, str]:
    """The arms by provider; that of the control is what the configuration says now."""
    configured = _configured(config, experiment.design.place)
    arms = {provider or configured: arm for arm, provider in reversed(experiment.design.arms.items())}
    return {provider: arm for provider, arm in arms.items() if provider is not None}


def _configured(config: Config, place: Place) -> str | None:
    if place.page is None:
        return config.feed
    sections = config.pages[place.page].sections if place.page in config.pages else ()
    return next((section.provider for section in sections if section.name == place.section), None)


def _rows(
    connection: Connection, experiment: Experiment, metric: Metric, arms: Sequence[str], now: int
) -> _Rows:
    """The newest requests, as long as all the policy's arms were assigned."""
    stops = experiment.traffic.stopped_at
    until = min([now, *(stops[arm] for arm in arms if arm in stops)])
    query = requests_of(experiment, metric, now).where(served_requests.c.served_at < until, *_assigned(stops))
    query = query.order_by(desc(served_requests.c.served_at)).limit(MOST_REQUESTS)
    found = connection.execute(query).all()
    if not found:
        raise NoSupportError(
            f"experiment: the ledger has no request of {experiment.name!r} whose window for outcomes has "
            "closed; try again later."
        )
    order = list(experiment.design.arms)
    return _Rows(
        units=[row.unit for row in found],
        arms=np.array([order.index(row.arm) for row in found]),
        chances=np.array([row.propensity / _logged_share(experiment, row.served_at) for row in found]),
        contexts=np.array([context_of(row.readings, row.served_at) for row in found]),
        readings=np.array([row.readings for row in found], float),
        rewards=np.array([row.reward for row in found], float),
    )


def _assigned(stops: Mapping[str, int]) -> list[ColumnElement[bool]]:
    """Leaves out what arms were still served after their stop, as by a process that had not heard of it."""
    request = served_requests.c
    return [or_(request.arm != arm, request.served_at < at) for arm, at in stops.items()]


def _logged_share(experiment: Experiment, served_at: int) -> float:
    """The share of readers whose requests are in the log, which propensities are divided by.

    Neither those of the holdout are, nor those whose fixed arm had been stopped.
    """
    kept = 1 - experiment.design.holdout
    if not isinstance(experiment.design.allocation, Fixed):
        return kept
    stops, shares = experiment.traffic.stopped_at, first_shares(experiment.design)
    return kept * sum(share for arm, share in shares.items() if stops.get(arm, served_at + 1) > served_at)


def _targets(policy: Policy, arms: Sequence[int], readings: Values) -> NDArray[np.intp]:
    """(rows): the index of the arm that the policy takes."""
    found = np.full(len(readings), arms[-1])
    for rule, arm in reversed(list(zip(policy.rules, arms, strict=False))):
        found[readings < rule.readings_below] = arm
    return found


def _logged(rows: _Rows, taken: NDArray[np.intp], arms: int) -> Logged:
    """With a model of the rewards for each half of the readers that was fitted to the other half."""
    half = np.array([position("half", unit, 2) for unit in rows.units])
    predicted, expected = np.zeros(len(half)), np.zeros(len(half))
    for part in (0, 1):
        own, other = half == part, half != part
        models = [_fitted(rows, other & (rows.arms == arm)) for arm in range(arms)]
        values = np.stack([rows.contexts[own] @ model for model in models], axis=1)
        at = np.arange(own.sum())
        predicted[own], expected[own] = values[at, rows.arms[own]], values[at, taken[own]]
    targets = (rows.arms == taken).astype(float)
    return Logged(np.array(rows.units), rows.chances, targets, rows.rewards, predicted, expected)


def _fitted(rows: _Rows, which: NDArray[np.bool_]) -> Values:
    """Weights (DIM) of a ridge regression of the rewards on the context."""
    arm: LinearArm = learned(new_arm(DIM), rows.contexts[which], rows.rewards[which])
    return np.asarray(np.linalg.solve(arm.precision, arm.moment))


def _out(value: Value) -> ValueOut:
    return ValueOut(**vars(value))
