"""How many readers and days an experiment needs, from what the ledger has of the place where it is to run."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field
from sqlalchemy import Connection

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.fields import from_micros
from nearfeed_core.experiments.clusters import Estimate, ratio
from nearfeed_core.experiments.sequences import LEAST_UNITS
from nearfeed_core.experiments.sizing import days_needed, lift_found, readers_needed
from nearfeed_core.readings import DAY_MICROS
from nearfeed_recommender.config.schema import Part
from nearfeed_recommender.experiments.measures import unit_sums
from nearfeed_recommender.experiments.schema import (
    FEED_PLACE,
    MOST_ARMS,
    Metric,
    Place,
    SectionTarget,
    Share,
    Target,
)
from nearfeed_recommender.experiments.sums import Window, arm_sums, first_answer

DAYS = (1, 2, 3, 5, 7, 10, 14, 21, 28)
MOST_ANSWERS = 100_000  # the newest, so that a size is told in seconds whatever the ledger holds


class TooLittleError(NearfeedError):
    """A ledger that does not tell how large an experiment must be."""


class Plan(Part):
    """An experiment to be: which lift (0.05 is 5 %) of a metric is to be found, with which chance.

    `share` is the control's and the other arm's part of all readers, each. `comparisons` is the number of
    arms beside the control, the holdout included, which share alpha.
    """

    target: Target = "feed"
    metric: Metric = "ctr"
    lift: Annotated[float, Field(gt=0, le=10)] = 0.05
    power: Annotated[float, Field(gt=0.1, lt=1)] = 0.8
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    share: Annotated[Share, Field(le=0.5)] = 0.5
    comparisons: Annotated[int, Field(ge=1, le=MOST_ARMS)] = 1

    @property
    def alpha_each(self) -> float:
        """What each comparison has of alpha."""
        return self.alpha / self.comparisons

    @property
    def place(self) -> Place:
        target = self.target
        return Place(target.page, target.section) if isinstance(target, SectionTarget) else FEED_PLACE


class DayOut(BaseModel):
    """After so many days: the readers who come to all arms and none, and the least lift that is found."""

    days: int
    readers: int
    mean: float
    lift_found: float


class Size(BaseModel):
    """`readers` are needed in the control and the other arm together, which takes `days`.

    All is told by the newest 100,000 answers at the place, which may go back some days alone. `days` is null
    where these do not suffice. `mean` and `variance` (of one reader, by the
    square of the mean) are those since `since`; looks may be taken every day.
    """

    since: datetime
    readers: int
    days: int | None
    mean: float
    variance: float
    course: list[DayOut]


def size_of_plan(connection: Connection, plan: Plan, now: int) -> Size:
    """Raises TooLittleError."""
    first = first_answer(connection, plan.place, MOST_ANSWERS)
    since = max(first if first is not None else now, now - max(DAYS) * DAY_MICROS)
    whole = _estimate(connection, plan, since, now)
    if whole is None or not _is_known(whole):
        raise TooLittleError(
            f"metric: the ledger has too little of {plan.metric} at {plan.place} to tell a size; it needs "
            f"{LEAST_UNITS} readers who were served there, and what they did."
        )
    shares = (plan.share, plan.share)
    known = {
        days: found
        for days in DAYS
        if since + days * DAY_MICROS <= now
        and (found := _estimate(connection, plan, since, since + days * DAY_MICROS)) is not None
        and _is_known(found)
    }
    history = [known.get(day) for day in range(1, max(known, default=0) + 1)]
    return Size(
        since=from_micros(since),
        readers=readers_needed(
            plan.lift, whole.unit_variance, shares=shares, alpha=plan.alpha_each, power=plan.power
        ),
        days=days_needed(history, plan.lift, shares=shares, alpha=plan.alpha_each, power=plan.power),
        mean=whole.mean,
        variance=whole.unit_variance,
        course=[_day(plan, days, found) for days, found in known.items()],
    )


def _estimate(connection: Connection, plan: Plan, since: int, until: int) -> Estimate | None:
    sums = arm_sums(connection, Window(since, until, place=plan.place))
    return ratio(unit_sums(row, plan.metric, earlier=False)) if (row := sums.get("all")) else None


def _is_known(found: Estimate) -> bool:
    return found.units >= LEAST_UNITS and found.mean > 0 and found.variance > 0


def _day(plan: Plan, days: int, found: Estimate) -> DayOut:
    readers = max(1, round(found.units * 2 * plan.share))
    least = lift_found(
        readers, found.unit_variance, shares=(plan.share, plan.share), alpha=plan.alpha_each, power=plan.power
    )
    return DayOut(days=days, readers=found.units, mean=found.mean, lift_found=least)
