"""Random documents of what is served: all of them hold, for what they name is there and fits."""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Loc = tuple[int | str, ...]
NAMES = ("a", "b-1", "c.2", "type", "kind", "1", "ünï", "no")
FILTERS = ("membership", "date", "seen", "own", "blocked", "hidden_topic")
MODEL_OF = {
    "vectors": "vectors",
    "similar": "vectors",
    "neighbours": "neighbours",
    "lists": "lists",
    "walk": "graph",
}
names = st.sampled_from(NAMES)
titles = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=20)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A document with a model of every kind, and one to three providers that use them."""
    models = draw(_models())
    providers: dict[str, Any] = {}
    for name in draw(st.lists(names, min_size=1, max_size=3, unique=True)):
        providers[name] = draw(_provider(models, list(providers)))
    pages = st.dictionaries(names, _page(list(providers)), max_size=2)
    relations = st.dictionaries(names, _relation(models), max_size=2)
    return {
        "feed": draw(st.sampled_from(list(providers))),
        "models": models,
        "providers": providers,
        "pages": draw(pages),
        "relations": draw(relations),
    }


def references(document: dict[str, Any]) -> Iterator[Loc]:
    """The places of a document that name another part of it; a share is named by its key."""
    yield ("feed",)
    for name, provider in document["providers"].items():
        at = ("providers", name)
        parts = [((*at, "sources", key), part) for key, part in provider["sources"].items()]
        parts += [((*at, "slate", place), part) for place, part in enumerate(provider.get("slate", ()))]
        parts += [((*at, "rank"), provider.get("rank", {}))]
        for loc, part in parts:
            yield from ((*loc, key) for key in ("model", "source") if key in part)
        yield from ((*at, "blend", "shares", key) for key in provider.get("blend", {}).get("shares", ()))
        yield from [(*at, "fallback")] if "fallback" in provider else []
    for name, page in document["pages"].items():
        for place, _ in enumerate(page["sections"]):
            yield ("pages", name, "sections", place, "provider")
    for name, relation in document["relations"].items():
        yield from [("relations", name, "model")] if "model" in relation else []


@st.composite
def _models(draw: st.DrawFn) -> dict[str, Any]:
    models = {}
    for kind in ("vectors", "neighbours", "lists", "graph", "ranker"):
        body: dict[str, Any] = {"kind": kind}
        if kind == "vectors":
            body |= draw(st.sampled_from([{}, {"space": "active"}, {"space": "s1"}]))
        else:
            body |= draw(st.sampled_from([{"run": "r1"}, {"latest": "item-knn"}]))
        models[f"{draw(names)}-{kind}"] = body
    return models


def _name_of(models: dict[str, Any], *kinds: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name for name, model in models.items() if model["kind"] in kinds])


@st.composite
def _source(draw: st.DrawFn, models: dict[str, Any]) -> dict[str, Any]:
    kind = draw(st.sampled_from([*MODEL_OF, "popular", "latest", "followed", "picks"]))
    body: dict[str, Any] = {"type": kind}
    if kind in MODEL_OF:
        body["model"] = draw(_name_of(models, MODEL_OF[kind]))
    if kind == "picks":
        body["items"] = draw(st.lists(names, min_size=1, max_size=3))
    return body | draw(st.fixed_dictionaries({}, optional={"limit": st.integers(1, 1_000)}))


@st.composite
def _rule(draw: st.DrawFn, models: dict[str, Any], newcomers: list[str]) -> dict[str, Any]:
    rules = ["at_most", "near_duplicates", "mmr", "new_share", *(["first_exposure"] if newcomers else [])]
    rule = draw(st.sampled_from(rules))
    body: dict[str, Any] = {"rule": rule}
    if rule in ("near_duplicates", "mmr"):
        body["model"] = draw(_name_of(models, "vectors"))
    if rule == "at_most":
        body["of"] = draw(st.sampled_from(["author", "community"]))
    if rule == "first_exposure":
        body["source"] = draw(st.sampled_from(newcomers))
    return body


@st.composite
def _provider(draw: st.DrawFn, models: dict[str, Any], earlier: list[str]) -> dict[str, Any]:
    sources = draw(st.dictionaries(names, _source(models), min_size=1, max_size=3))
    newcomers = [f"new-{name}" for name in draw(st.sets(names, max_size=1))]
    sources |= {name: {"type": "newcomers"} for name in newcomers}
    shares = st.dictionaries(st.sampled_from(list(sources)), st.floats(0.01, 1), min_size=1)
    ranker = _name_of(models, "ranker")
    optional: dict[str, st.SearchStrategy[Any]] = {
        "blend": st.one_of(
            st.just({"type": "interleave"}),
            st.builds(lambda k: {"type": "rrf", "k": k}, st.integers(0, 100)),
            st.builds(lambda given: {"type": "quotas", "shares": given}, shares),
        ),
        "filters": st.lists(st.sampled_from([*FILTERS, {"language": ["en", "no"]}]), max_size=3),
        "rank": st.one_of(
            st.just({"type": "none"}), st.builds(lambda name: {"type": "model", "model": name}, ranker)
        ),
        "slate": st.lists(_rule(models, newcomers), max_size=3),
    }
    if earlier:
        optional["fallback"] = st.sampled_from(earlier)
    return {"sources": sources, **draw(st.fixed_dictionaries({}, optional=optional))}


def _page(providers: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    section = st.fixed_dictionaries(
        {"name": names, "title": titles, "provider": st.sampled_from(providers)},
        optional={"limit": st.integers(1, 100)},
    )
    sections = st.lists(section, min_size=1, max_size=3, unique_by=lambda body: body["name"])
    return sections.map(lambda given: {"sections": given})


def _relation(models: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    live = _name_of(models, "vectors", "neighbours").map(lambda name: {"model": name})
    return st.one_of(live, st.builds(lambda label: {"edges": label}, names))
