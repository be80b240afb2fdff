"""References within a document: a name must be that of a fitting other part, and formulas must be valid."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nearfeed_core.formula import VARIABLES, FormulaError, check_formula, variables_of
from nearfeed_recommender.config.faults import Found, Loc
from nearfeed_recommender.config.schema import (
    Config,
    Diversity,
    FirstExposure,
    FormulaRanking,
    GraphModel,
    ListsModel,
    ListsSource,
    LiveRelation,
    ModelRanking,
    NearDuplicates,
    NeighboursModel,
    NeighboursSource,
    NewcomersSource,
    Provider,
    Quotas,
    RankerModel,
    SimilarSource,
    SlateRule,
    VectorsModel,
    VectorsSource,
    WalkSource,
)

MODELS_OF: dict[type, tuple[type, ...]] = {
    VectorsSource: (VectorsModel,),
    SimilarSource: (VectorsModel,),
    NeighboursSource: (NeighboursModel,),
    ListsSource: (ListsModel,),
    WalkSource: (GraphModel,),
    ModelRanking: (RankerModel,),
    NearDuplicates: (VectorsModel,),
    Diversity: (VectorsModel,),
    LiveRelation: (VectorsModel, NeighboursModel),
}
KIND_OF: dict[type, str] = {
    VectorsModel: "vectors",
    NeighboursModel: "neighbours",
    ListsModel: "lists",
    GraphModel: "graph",
    RankerModel: "ranker",
}


@dataclass(frozen=True)
class Names:
    """Models and providers by name; of those in `unread` no more is known than the name."""

    models: Mapping[str, Any]
    providers: Mapping[str, Provider]
    unread: Mapping[str, Collection[str]] = field(default_factory=dict)

    def lacks(self, section: str, name: str) -> bool:
        return name not in getattr(self, section) and name not in self.unread.get(section, ())

    def known(self, section: str) -> str:
        names = [*getattr(self, section), *self.unread.get(section, ())]
        return f"{section}: {', '.join(sorted(names)) or 'none'}"


def reference_faults(config: Config, unread: Mapping[str, Collection[str]]) -> Iterator[Found]:
    """All references of a document that lead nowhere or to what does not fit.

    `unread` has the names, by section, of entries that are not in `config` because they are at fault
    themselves; what refers to them passes.
    """
    names = Names(config.models, config.providers, unread)
    if isinstance(config.feed, str):
        yield from _provider_faults(("feed",), config.feed, names)
    for name, provider in config.providers.items():
        yield from _pipeline_faults(("providers", name), provider, names)
    yield from _cycles(config.providers)
    for name, page in config.pages.items():
        for place, section in enumerate(page.sections):
            loc = ("pages", name, "sections", place, "provider")
            yield from _provider_faults(loc, section.provider, names)
    for name, relation in config.relations.items():
        yield from _model_faults(("relations", name), relation, names)


def _pipeline_faults(loc: Loc, provider: Provider, names: Names) -> Iterator[Found]:
    for name, source in provider.sources.items():
        yield from _model_faults((*loc, "sources", name), source, names)
    if isinstance(provider.blend, Quotas):
        for name in provider.blend.shares:
            yield from _source_faults((*loc, "blend", "shares", name), name, provider)
    yield from _model_faults((*loc, "rank"), provider.rank, names)
    for place, rule in enumerate(provider.slate):
        yield from _rule_faults((*loc, "slate", place), rule, provider, names)
    if provider.fallback is not None:
        yield from _provider_faults((*loc, "fallback"), provider.fallback, names)


def _rule_faults(loc: Loc, rule: SlateRule, provider: Provider, names: Names) -> Iterator[Found]:
    yield from _model_faults(loc, rule, names)
    if isinstance(rule, FirstExposure):
        yield from _source_faults((*loc, "source"), rule.source, provider)
        source = provider.sources.get(rule.source)
        if source is not None and not isinstance(source, NewcomersSource):
            yield (*loc, "source"), f"source {rule.source!r} is of type {source.type}, and must be newcomers"


def _model_faults(loc: Loc, user: Any, names: Names) -> Iterator[Found]:
    """What is wrong with the model that a source, ranking, rule or relation names, if it names one."""
    if type(user) not in MODELS_OF:
        return
    loc = (*loc, "model")
    if names.lacks("models", user.model):
        yield loc, f"there is no model {user.model!r}; {names.known('models')}"
    model, fitting = names.models.get(user.model), MODELS_OF[type(user)]
    if model is not None and not isinstance(model, fitting):
        kinds = " or ".join(KIND_OF[kind] for kind in fitting)
        yield loc, f"model {user.model!r} is of kind {model.kind}, and must be of kind {kinds}"


def _provider_faults(loc: Loc, name: str, names: Names) -> Iterator[Found]:
    if names.lacks("providers", name):
        yield loc, f"there is no provider {name!r}; {names.known('providers')}"


def _source_faults(loc: Loc, name: str, provider: Provider) -> Iterator[Found]:
    if name not in provider.sources:
        yield loc, f"this provider has no source {name!r}; sources: {', '.join(sorted(provider.sources))}"


def _cycles(providers: Mapping[str, Provider]) -> Iterator[Found]:
    """Each circle of fallbacks once, at the first of its providers."""
    told: set[str] = set()
    for start in providers:
        path = [start]
        while (after := _fallback(providers, path[-1])) is not None and after not in path:
            path.append(after)
        if after == start and start not in told:
            told.update(path)
            circle = " -> ".join([*path, start])
            yield ("providers", start, "fallback"), f"leads back to where it began: {circle}"


def _fallback(providers: Mapping[str, Provider], name: str) -> str | None:
    return providers[name].fallback if name in providers else None


def formula_faults(config: Config) -> Iterator[Found]:
    """Formulas that cannot be computed, with what they may hold instead."""
    for name, provider in config.providers.items():
        if isinstance(provider.rank, FormulaRanking):
            try:
                names = variables_of(provider.sources).values()
                check_formula(provider.rank.formula, {*VARIABLES, *names})
            except FormulaError as error:
                yield ("providers", name, "rank", "formula"), str(error).removesuffix(".")
