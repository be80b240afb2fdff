"""An experiment, as data: arms that name providers, who takes part, and what is measured."""

from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import Discriminator, Field, Tag, model_validator

from nearfeed_contracts.events import HOLDOUT
from nearfeed_contracts.fields import Id
from nearfeed_recommender.config.schema import Part

FEED = "feed"
BUCKETS = 1_000  # of a layer; the least traffic is one of them
MOST_ARMS = 10

Metric = Literal[
    "ctr",
    "clicks_per_reader",
    "reads_per_reader",
    "likes_per_reader",
    "hides_per_reader",
    "depth",
    "took_ms",
    "degraded",
    "failed",
]
METRICS: tuple[Metric, ...] = get_args(Metric)
LOWER_IS_BETTER: frozenset[Metric] = frozenset({"hides_per_reader", "took_ms", "degraded", "failed"})
SHARES: frozenset[Metric] = frozenset({"degraded", "failed"})
REWARDS: dict[Metric, str] = {
    "ctr": "click",
    "clicks_per_reader": "click",
    "reads_per_reader": "read",
    "likes_per_reader": "like",
}
Name = Annotated[Id, Field(pattern=r"^[^/]+$")]
Share = Annotated[float, Field(ge=1 / BUCKETS, le=1)]
Floor = Annotated[float, Field(gt=0, le=0.5)]
Minutes = Annotated[float, Field(ge=0, le=7 * 24 * 60)]


class Place(NamedTuple):
    """Where a provider is asked: the feed by itself (`page` is None), or a section of a page."""

    page: str | None
    section: str

    def __str__(self) -> str:
        return self.section if self.page is None else f"{self.page}/{self.section}"


FEED_PLACE = Place(None, FEED)


class SectionTarget(Part):
    """A section of a page."""

    page: Id
    section: Id


def _form_of_target(given: Any) -> str:
    return "section" if isinstance(given, dict | SectionTarget) else "feed"


Target = Annotated[
    Annotated[Literal["feed"], Tag("feed")] | Annotated[SectionTarget, Tag("section")],
    Discriminator(_form_of_target),
]


class Audience(Part):
    """Who takes part: all, or readers who joined one of these communities, or have so many readings.

    Readings grow while an experiment runs: a reader who leaves the audience gets what the configuration
    says from then on.
    """

    communities: Annotated[tuple[Id, ...], Field(min_length=1, max_length=100)] | None = None
    readings_from: Annotated[int, Field(ge=0, le=512)] | None = None
    readings_below: Annotated[int, Field(ge=1, le=512)] | None = None


class Fixed(Part):
    """Each reader keeps an arm; `shares` are the arms' parts of the readers, equal where none are given."""

    type: Literal["fixed"]
    shares: dict[Id, Annotated[float, Field(gt=0, le=1_000)]] | None = None


class Bandit(Part):
    """An arm is drawn anew for each request, none with less than the chance `floor`.

    A request is a success if its metric's action came of it within `delay_minutes`; younger requests do not
    count yet.
    """

    floor: Floor = 0.05
    delay_minutes: Minutes = 30.0


class Thompson(Bandit):
    """By the chance that it is best, with a Beta posterior per arm (Thompson, 1933)."""

    type: Literal["thompson"]


class LinTS(Bandit):
    """By context, with a linear posterior per arm (Agrawal and Goyal, ICML 2013).

    The context is what the request knows: how much the reader has read, the hour, weekday or weekend.
    """

    type: Literal["lints"]
    ridge: Annotated[float, Field(gt=0, le=1_000)] = 1.0
    scale: Annotated[float, Field(gt=0, le=10)] = 0.5


Allocation = Annotated[Fixed | Thompson | LinTS, Field(discriminator="type")]


class Guardrail(Part):
    """An arm stops by itself once it is certain that it loses more than `most_loss` of the control's value.

    Of `degraded` and `failed`, which are hardly above 0, `most_loss` is a share of all requests. Where the
    control's value is 0 there is no share of it, and the arm stops once it is certain that its own is worse
    by more than `most_at_zero`, in the metric's unit.
    """

    metric: Metric
    better: Literal["higher", "lower"] | None = None
    most_loss: Annotated[float, Field(ge=0, le=10)] = 0.05
    most_at_zero: Annotated[float, Field(ge=0)] = 0.01

    @property
    def sign(self) -> int:
        """1 where a higher value is better, else -1."""
        lower = self.metric in LOWER_IS_BETTER if self.better is None else self.better == "lower"
        return -1 if lower else 1


class Design(Part):
    """An experiment as it is asked for.

    `arms` name their providers; null is what the configuration says, and the first arm is the control.
    `traffic` is the share of its layer that it starts with; running experiments at one target share a
    layer, in which a reader is in one experiment at most. `holdout` is the share of readers who get what
    the configuration says; it is the same readers in all experiments. `alpha` is the chance of a false
    alarm, over all looks and arms together; `lift` (0.05 is 5 %) is what intervals are made for and sizes
    are told of; `days_before` are those whose actions explain differences between readers (CUPED).
    """

    name: Name
    description: Annotated[str, Field(max_length=1_000)] = ""
    target: Target
    layer: Id | None = None
    arms: Annotated[dict[Id, Id | None], Field(min_length=2, max_length=MOST_ARMS)]
    allocation: Allocation = Fixed(type="fixed")
    traffic: Share = 1.0
    holdout: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    audience: Audience = Audience()
    metric: Metric = "ctr"
    guardrails: Annotated[tuple[Guardrail, ...], Field(max_length=10)] = ()
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    lift: Annotated[float, Field(gt=0, le=10)] = 0.05
    days_before: Annotated[int, Field(ge=0, le=28)] = 14

    @property
    def place(self) -> Place:
        if isinstance(self.target, SectionTarget):
            return Place(self.target.page, self.target.section)
        return FEED_PLACE

    @property
    def layer_name(self) -> str:
        return self.layer or str(self.place)

    @property
    def control(self) -> str:
        return next(iter(self.arms))

    @property
    def comparisons(self) -> int:
        """How many arms are compared with the control, and share alpha."""
        return len(self.arms) - 1 + bool(self.holdout)

    @model_validator(mode="after")
    def _arms_and_shares_fit(self) -> "Design":
        if HOLDOUT in self.arms:
            raise ValueError(f"no arm may be named {HOLDOUT}, which are the readers who are kept out")
        allocation = self.allocation
        if isinstance(allocation, Fixed):
            if allocation.shares is not None and allocation.shares.keys() != self.arms.keys():
                raise ValueError(f"the shares must name the arms: {', '.join(self.arms)}")
            return self
        if allocation.floor * len(self.arms) > 1:
            raise ValueError(f"a floor for each of {len(self.arms)} arms is 1/{len(self.arms)} at most")
        if self.guardrails:
            raise ValueError("guardrails need a fixed allocation, for a bandit's arms share their readers")
        if self.metric not in REWARDS:
            raise ValueError(f"a bandit learns from one of the metrics {', '.join(REWARDS)}")
        return self


class Traffic(Part):
    """What an experiment has now; it changes while the design stands.

    `buckets` are ranges (first, end) of its layer's 1,000, in the order in which they were added; `shares`
    the chance of each arm (of a bandit by context: over all contexts); `stopped` has the arms that are no
    longer assigned, with the reasons, and `stopped_at` since when, in microseconds since 1970; `learned` is
    what a bandit has learned, by arm; `adopted` the arm that was chosen at the end.
    """

    buckets: tuple[tuple[int, int], ...] = ()
    shares: dict[str, float] = Field(default_factory=dict)
    stopped: dict[str, str] = Field(default_factory=dict)
    stopped_at: dict[str, int] = Field(default_factory=dict)
    learned: dict[str, Any] = Field(default_factory=dict)
    adopted: str | None = None

    @property
    def size(self) -> int:
        return sum(end - first for first, end in self.buckets)


def first_shares(design: Design) -> dict[str, float]:
    """The arms' parts at the start; they sum to 1."""
    given = design.allocation.shares if isinstance(design.allocation, Fixed) else None
    weights = {arm: (given or {}).get(arm, 1.0) for arm in design.arms}
    total = sum(weights.values())
    return {arm: weight / total for arm, weight in weights.items()}
