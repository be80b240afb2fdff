"""What is served, as data: models, providers that combine them, and pages made of sections.

One document holds all of it, and holds as a whole or not at all (`nearfeed_recommender.config.checks`).
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from nearfeed_contracts.fields import MAX_LIMIT, Id, Language, Title

ACTIVE = "active"
EVERYBODY = "*"

Limit = Annotated[int, Field(ge=1, le=1_000)]
Share = Annotated[float, Field(gt=0, le=1)]
Hours = Annotated[float, Field(gt=0, le=24 * 366)]
Days = Annotated[float, Field(gt=0, le=3_660)]


class Part(BaseModel):
    """What all parts of the document share: a word that is not known is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class VectorsModel(Part):
    """Vectors in a space of the vector store: the active one, or one by name."""

    kind: Literal["vectors"]
    space: Id = ACTIVE


class RunModel(Part):
    """A model that is read from a run: one by name, or the `latest` of those that a trainer has written."""

    run: Id | None = None
    latest: Id | None = None

    @model_validator(mode="after")
    def _one_way_to_name_it(self) -> "RunModel":
        if (self.run is None) == (self.latest is None):
            raise ValueError("name either a `run`, or the `latest` of a trainer such as item-knn")
        return self


class NeighboursModel(RunModel):
    """Item-to-item lists of a run."""

    kind: Literal["neighbours"]


class ListsModel(RunModel):
    """Lists per reader of a run; the list of the reader `*` is everybody's."""

    kind: Literal["lists"]


class GraphModel(RunModel):
    """The graph of a run that a random walk goes over."""

    kind: Literal["graph"]


class RankerModel(RunModel):
    """A run that scores candidates."""

    kind: Literal["ranker"]


Model = Annotated[
    VectorsModel | NeighboursModel | ListsModel | GraphModel | RankerModel, Field(discriminator="kind")
]


class SourceBase(Part):
    """`limit` posts at most, `weight` is what a fusion gives them.

    After `deadline_ms` the answer goes out without it; where none is given, after what a vector server has
    (NEARFEED_SEARCH_TIMEOUT_MS), and with an embedded store after five seconds.
    """

    limit: Limit = 100
    deadline_ms: Annotated[int, Field(ge=1, le=10_000)] | None = None
    weight: Annotated[float, Field(gt=0, le=1_000)] = 1.0


class VectorsSource(SourceBase):
    """The posts closest to the reader's vector; with `hours` only posts younger than these."""

    type: Literal["vectors"]
    model: Id
    hours: Hours | None = None


class SimilarSource(SourceBase):
    """Posts similar to the reader's last `readings`, by vectors."""

    type: Literal["similar"]
    model: Id
    readings: Annotated[int, Field(ge=1, le=50)] = 5


class NeighboursSource(SourceBase):
    """Item-to-item lists of the reader's last `readings`."""

    type: Literal["neighbours"]
    model: Id
    readings: Annotated[int, Field(ge=1, le=512)] = 50


class ListsSource(SourceBase):
    """The reader's list in a run, or everybody's."""

    type: Literal["lists"]
    model: Id


class WalkSource(SourceBase):
    """What random walks from the reader's last `readings` visit most (Pixie, WWW 2018).

    `enough_posts` with `enough_visits` each end it early (n_p and n_v of the paper).
    """

    type: Literal["walk"]
    model: Id
    readings: Annotated[int, Field(ge=1, le=512)] = 50
    steps: Annotated[int, Field(ge=100, le=10_000_000)] = 100_000
    restart: Annotated[float, Field(gt=0, lt=1)] = 0.5
    enough_posts: Annotated[int, Field(ge=1)] | None = None
    enough_visits: Annotated[int, Field(ge=1)] = 4


class PopularSource(SourceBase):
    """The posts that most readers have read within `days`."""

    type: Literal["popular"]
    days: Days = 30.0


class LatestSource(SourceBase):
    """The newest posts."""

    type: Literal["latest"]


class FollowedSource(SourceBase):
    """The newest posts of the authors whom the reader follows."""

    type: Literal["followed"]


class NewcomersSource(SourceBase):
    """Posts of the last `hours` by authors with at most `posts` posts, shown less than `exposures` times."""

    type: Literal["newcomers"]
    hours: Hours = 72.0
    posts: Annotated[int, Field(ge=1, le=100)] = 3
    exposures: Annotated[int, Field(ge=1)] = 100


class PicksSource(SourceBase):
    """Posts that editors have picked, in their order."""

    type: Literal["picks"]
    items: Annotated[tuple[Id, ...], Field(min_length=1, max_length=500)]


Source = Annotated[
    VectorsSource
    | SimilarSource
    | NeighboursSource
    | ListsSource
    | WalkSource
    | PopularSource
    | LatestSource
    | FollowedSource
    | NewcomersSource
    | PicksSource,
    Field(discriminator="type"),
]


class Fusion(Part):
    """Weighted reciprocal-rank fusion: the sum of weight / (k + rank) (Cormack et al., SIGIR 2009)."""

    type: Literal["rrf"]
    k: Annotated[float, Field(ge=0, le=10_000)] = 60.0


class Quotas(Part):
    """Places in proportion to the sources' shares, each source in its own order."""

    type: Literal["quotas"]
    shares: dict[Id, Share]


class Interleave(Part):
    """One from each source in turn."""

    type: Literal["interleave"]


Blend = Annotated[Fusion | Quotas | Interleave, Field(discriminator="type")]


class LanguageFilter(Part):
    """Posts in these languages; posts of which the language is not known pass."""

    language: Annotated[tuple[Language, ...], Field(min_length=1, max_length=50)]


def _form_of_filter(given: Any) -> str:
    return "by language" if isinstance(given, dict | LanguageFilter) else "by name"


NamedFilter = Literal["membership", "date", "seen", "own", "blocked", "hidden_topic"]
Filter = Annotated[
    Annotated[NamedFilter, Tag("by name")] | Annotated[LanguageFilter, Tag("by language")],
    Discriminator(_form_of_filter),
]
DEFAULT_FILTERS: tuple[NamedFilter, ...] = (
    "membership",
    "date",
    "seen",
    "own",
    "blocked",
    "hidden_topic",
)


class NoRanking(Part):
    """The order of the blend stands."""

    type: Literal["none"]


class FormulaRanking(Part):
    """By a formula over `score`, `freshness`, `popularity`, `affinity` and the sources' scores."""

    type: Literal["formula"]
    formula: Annotated[str, Field(min_length=1, max_length=500)]
    half_life_hours: Hours = 48.0


class ModelRanking(Part):
    """By a ranker; the first `top` candidates are scored, the others follow as they were."""

    type: Literal["model"]
    model: Id
    top: Limit = 200


Ranking = Annotated[NoRanking | FormulaRanking | ModelRanking, Field(discriminator="type")]


class AtMost(Part):
    """At most `n` posts of one author, or of one community, in any `window` places that follow each other."""

    rule: Literal["at_most"]
    of: Literal["author", "community"]
    n: Annotated[int, Field(ge=1, le=100)] = 1
    window: Annotated[int, Field(ge=2, le=500)] = 5


class NearDuplicates(Part):
    """Of posts whose vectors have a cosine of `similarity` and more, the first alone stays."""

    rule: Literal["near_duplicates"]
    model: Id
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.97


class Diversity(Part):
    """Maximal marginal relevance over the first `depth` (Carbonell and Goldstein, SIGIR 1998).

    `strength` 0 leaves the order as it is, 1 looks at differences alone.
    """

    rule: Literal["mmr"]
    model: Id
    strength: Annotated[float, Field(ge=0, le=1)] = 0.3
    depth: Annotated[int, Field(ge=2, le=200)] = 50


class NewShare(Part):
    """Keeps a `share` of the places, evenly spread, for posts younger than `hours`, as far as there are."""

    rule: Literal["new_share"]
    share: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    hours: Hours = 48.0


class FirstExposure(Part):
    """One post of `source`, of type newcomers, stands within the first `within` places, if there is any."""

    rule: Literal["first_exposure"]
    source: Id
    within: Annotated[int, Field(ge=1, le=100)] = 10


SlateRule = Annotated[
    AtMost | NearDuplicates | Diversity | NewShare | FirstExposure, Field(discriminator="rule")
]


class Provider(Part):
    """A pipeline: sources, blending, filters, ranking, slate rules; and whom to ask where it has nothing.

    The first `depth` posts of the blend that pass the filters are ranked and laid out.
    """

    sources: Annotated[dict[Id, Source], Field(min_length=1, max_length=20)]
    blend: Blend = Fusion(type="rrf")
    filters: tuple[Filter, ...] = DEFAULT_FILTERS
    rank: Ranking = NoRanking(type="none")
    slate: tuple[SlateRule, ...] = ()
    depth: Limit = 500
    fallback: Id | None = None


class Section(Part):
    """A part of a page: `limit` posts of a provider under a title."""

    name: Id
    title: Title
    provider: Id
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 20


class Page(Part):
    """Sections, in their order; a post stands in the first that has it."""

    sections: Annotated[tuple[Section, ...], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _sections_have_names_of_their_own(self) -> "Page":
        names = [section.name for section in self.sections]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sections are named {twice[0]}")
        return self


class StoredRelation(Part):
    """Answered from stored edges of a label."""

    edges: Annotated[str, Field(min_length=1, max_length=64)]


class LiveRelation(Part):
    """Answered by a model of kind vectors or neighbours."""

    model: Id


def _form_of_relation(given: Any) -> str:
    stored = "edges" in given if isinstance(given, dict) else isinstance(given, StoredRelation)
    return "stored edges" if stored else "live model"


Relation = Annotated[
    Annotated[StoredRelation, Tag("stored edges")] | Annotated[LiveRelation, Tag("live model")],
    Discriminator(_form_of_relation),
]


class Config(Part):
    """The whole document. `feed` names the provider of /v1/feed, `relations` what GraphQL asks."""

    feed: Id
    models: dict[Id, Model] = {}
    providers: Annotated[dict[Id, Provider], Field(min_length=1)]
    pages: dict[Id, Page] = {}
    relations: dict[Id, Relation] = {}


def document_of(config: Config) -> dict[str, Any]:
    """The document in its JSON form, with what was left to defaults left out."""
    return config.model_dump(mode="json", exclude_unset=True)
