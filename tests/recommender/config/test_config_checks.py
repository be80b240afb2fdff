"""A document holds as a whole or is refused, and then all its faults are told with their paths and lines."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert
from tests.recommender.config_documents import Loc, documents, references

from nearfeed_backends.opening import open_database
from nearfeed_contracts.runs import MAIN_FILES, Manifest, RunKind, write_manifest
from nearfeed_contracts.tables import spaces
from nearfeed_recommender.config.checks import default_config, parse_config, read_config
from nearfeed_recommender.config.document import json_document, yaml_of
from nearfeed_recommender.config.faults import ConfigError, Fault, path_of
from nearfeed_recommender.config.schema import document_of
from nearfeed_recommender.config.world import World
from nearfeed_runtime.sql import write_transaction

some = settings(max_examples=50, deadline=None)
SMALL = """\
feed: personal
models:
  vectors: {kind: vectors}
  lists: {kind: lists, run: r}
providers:
  personal:
    sources:
      near: {type: vectors, model: vectors}
      new: {type: newcomers}
    rank: {type: none}
pages:
  home:
    sections:
      - {name: top, title: Top, provider: personal}
"""


def faults_of(text: str) -> tuple[Fault, ...]:
    with pytest.raises(ConfigError) as refused:
        read_config(text)
    return refused.value.faults


@some
@given(documents())
def test_a_document_that_holds_is_read_as_it_was_written(document: dict[str, Any]) -> None:
    config = read_config(yaml_of(document))
    assert document_of(config) == document
    assert orjson.dumps(document_of(config)) == orjson.dumps(document_of(parse_config(document)))
    assert parse_config(json_document(orjson.dumps(document).decode()).body) == config


@some
@given(documents(), st.data())
def test_one_broken_reference_is_one_fault_with_its_path_and_line(
    document: dict[str, Any], data: st.DataObject
) -> None:
    loc = data.draw(st.sampled_from(list(references(document))))
    broken = copy.deepcopy(document)
    part = broken
    for step in loc[:-1]:
        part = part[step]
    if "shares" in loc[-2:-1]:
        part["nowhere"] = part.pop(loc[-1])
        loc = (*loc[:-1], "nowhere")
    else:
        part[loc[-1]] = "nowhere"
    text = yaml_of(broken)
    (fault,) = faults_of(text)
    assert fault.path == path_of(loc)
    assert "nowhere" in fault.message
    assert fault.line is not None
    assert "nowhere" in text.splitlines()[fault.line - 1]


def places(body: Any, loc: Loc = ()) -> list[Loc]:
    steps = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [loc, *(place for step, inner in steps for place in places(inner, (*loc, step)))]


@some
@given(documents(), st.data())
def test_what_cannot_stand_anywhere_is_refused_where_it_stands(
    document: dict[str, Any], data: st.DataObject
) -> None:
    loc = data.draw(st.sampled_from([place for place in places(document) if place]))
    broken = copy.deepcopy(document)
    part = broken
    for step in loc[:-1]:
        part = part[step]
    part[loc[-1]] = [["misplaced"]]
    text = yaml_of(broken)
    found = faults_of(text)
    assert all(fault.path and fault.line for fault in found)
    assert any(fault.path.startswith(path_of(loc)) for fault in found)
    lines = [text.splitlines()[(fault.line or 0) - 1 :][:3] for fault in found]
    assert any("misplaced" in line for near in lines for line in near)


CASES: dict[str, tuple[str, str, str, int, str]] = {
    "an unknown filter": (
        "rank: {type: none}",
        "filters: [seen, sean]",
        "providers.personal.filters[1]",
        10,
        "'sean' is unknown; here may stand membership, date, seen, own, blocked, hidden_topic",
    ),
    "an unknown type": (
        "type: newcomers",
        "type: news",
        "providers.personal.sources.new.type",
        9,
        "'news' is unknown; here may stand vectors, similar, neighbours, lists, walk, popular, latest, "
        "followed, newcomers, picks",
    ),
    "no type": (
        "new: {type: newcomers}",
        "new: {hours: 3}",
        "providers.personal.sources.new.type",
        9,
        "is missing; here may stand vectors, similar, neighbours, lists, walk, popular, latest, "
        "followed, newcomers, picks",
    ),
    "a missing model": (
        "model: vectors",
        "model: wlk",
        "providers.personal.sources.near.model",
        8,
        "there is no model 'wlk'; models: lists, vectors",
    ),
    "a model of another kind": (
        "model: vectors",
        "model: lists",
        "providers.personal.sources.near.model",
        8,
        "model 'lists' is of kind lists, and must be of kind vectors",
    ),
    "a word that is not known": (
        "provider: personal",
        "provider: personal, limmit: 3",
        "pages.home.sections[0].limmit",
        14,
        "is unknown; here may stand name, title, provider, limit",
    ),
    "a part that is missing": (
        "title: Top, ",
        "",
        "pages.home.sections[0].title",
        14,
        "is missing",
    ),
    "a number that is too large": (
        "provider: personal",
        "provider: personal, limit: 101",
        "pages.home.sections[0].limit",
        14,
        "should be less than or equal to 100",
    ),
    "a rule for newcomers on another source": (
        "rank: {type: none}",
        "slate: [{rule: first_exposure, source: near}]",
        "providers.personal.slate[0].source",
        10,
        "source 'near' is of type vectors, and must be newcomers",
    ),
    "a quota of no source": (
        "rank: {type: none}",
        "blend: {type: quotas, shares: {near: 0.5, old: 0.5}}",
        "providers.personal.blend.shares.old",
        10,
        "this provider has no source 'old'; sources: near, new",
    ),
    "a formula over what is not there": (
        "rank: {type: none}",
        "rank: {type: formula, formula: near + nwe}",
        "providers.personal.rank.formula",
        10,
        "The formula has nwe, which is not known; known are affinity, freshness, near, new, popularity, "
        "score",
    ),
    "what is no formula": (
        "rank: {type: none}",
        "rank: {type: formula, formula: score +}",
        "providers.personal.rank.formula",
        10,
        "'score +' is no formula: invalid syntax",
    ),
    "a circle of one": (
        "rank: {type: none}",
        "fallback: personal",
        "providers.personal.fallback",
        10,
        "leads back to where it began: personal -> personal",
    ),
    "a name that stands twice": (
        "lists: {kind: lists, run: r}",
        "vectors: {kind: lists, run: r}",
        "models.vectors",
        4,
        "stands twice",
    ),
    "a name that is a number": (
        "feed: personal",
        "feed: 2026",
        "feed",
        1,
        "must be text (put a number, a date, yes or no in quotes)",
    ),
    "no name at all": ("run: r", "run: null", "models.lists", 4, "name either a `run`, or the `latest` of a "
                       "trainer such as item-knn"),
    "an empty list": (
        "rank: {type: none}",
        "filters: [{language: []}]",
        "providers.personal.filters[0].language",
        10,
        "must not be empty",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_a_fault_tells_its_path_its_line_and_what_may_stand(case: str) -> None:
    before, after, path, line, message = CASES[case]
    assert SMALL.count(before) == 1
    assert faults_of(SMALL.replace(before, after)) == (Fault(path, message, line),)


def test_all_faults_are_told_at_once_a_line_each() -> None:
    text = SMALL.replace("feed: personal", "feed: persnal").replace("type: newcomers", "type: newcomer")
    text = text.replace("provider: personal", "provider: none")
    with pytest.raises(ConfigError) as refused:
        read_config(text, name="serving.yaml")
    assert str(refused.value).splitlines() == [
        "serving.yaml: feed (line 1): there is no provider 'persnal'; providers: personal.",
        "serving.yaml: providers.personal.sources.new.type (line 9): 'newcomer' is unknown; here may stand "
        "vectors, similar, neighbours, lists, walk, popular, latest, followed, newcomers, picks.",
        "serving.yaml: pages.home.sections[0].provider (line 14): there is no provider 'none'; "
        "providers: personal.",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "feed: is missing"),
        ("- a", "must hold names with their values (line 1)"),
        ("a: [", "line 1, column 5: expected the node content"),
        ("[" * 10_000, "is nested too deeply"),
        ("feed: 2026-13-01", "line 1, column 7: 2026-13-01 cannot be read"),
        ("a: &a [*a]", "a (line 1): is unknown"),
        ("a: \x01", "special characters are not allowed"),
        ("{1: a, [2]: b}", "found unhashable key"),
    ],
)
def test_what_is_no_document_is_told(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_config(text)
    assert told in str(refused.value)


@pytest.mark.parametrize("text", ["{", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 100_000])
def test_what_is_no_json_is_told(text: str) -> None:
    with pytest.raises(ConfigError):
        json_document(text)


def test_a_circle_of_fallbacks_is_told_once() -> None:
    document = document_of(default_config())
    document["providers"] |= {
        name: {"sources": {"latest": {"type": "latest"}}, "fallback": after}
        for name, after in [("x", "y"), ("y", "z"), ("z", "y")]
    }
    with pytest.raises(ConfigError) as refused:
        parse_config(document)
    assert [fault.path for fault in refused.value.faults] == ["providers.y.fallback"]
    assert "y -> z -> y" in str(refused.value)


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    engine = open_database(f"sqlite:///{tmp_path}/nearfeed.db")
    yield engine
    engine.dispose()


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    return World(engine, f"file://{tmp_path}/runs")


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[[str, str, RunKind, int], None]:
    def write(name: str, trainer: str, kind: RunKind, day: int) -> None:
        main_file = tmp_path / "runs" / name / MAIN_FILES[kind]
        main_file.parent.mkdir(parents=True)
        main_file.write_bytes(b"")
        created_at = datetime(2026, 1, day, tzinfo=UTC)
        write_manifest(
            f"file://{tmp_path}/runs/{name}",
            Manifest(space=name, kind=kind, model=trainer, created_at=created_at),
        )

    return write


def test_runs_and_spaces_that_are_named_must_be_there(
    world: World, engine: Engine, write_run: Callable[[str, str, RunKind, int], None]
) -> None:
    write_run("r-lists", "popularity", "lists", 1)
    write_run("r-knn", "item-knn", "neighbours", 2)
    with write_transaction(engine) as transaction:
        rows = [
            {"space": name, "state": state, "manifest": "{}", "run_url": "-", "created_at": 0}
            for name, state in [("s-ready", "ready"), ("s-loading", "loading")]
        ]
        transaction.execute(insert(spaces), rows)
    models = {
        "good-space": {"kind": "vectors", "space": "s-ready"},
        "good-run": {"kind": "lists", "run": "r-lists"},
        "good-latest": {"kind": "neighbours", "latest": "item-knn"},
        "no-space": {"kind": "vectors", "space": "s-none"},
        "loading": {"kind": "vectors", "space": "s-loading"},
        "no-run": {"kind": "graph", "run": "r-none"},
        "other-kind": {"kind": "graph", "run": "r-lists"},
        "no-latest": {"kind": "ranker", "latest": "lambdamart"},
        "latest-of-another-kind": {"kind": "lists", "latest": "item-knn"},
    }
    body = document_of(default_config())
    body["models"] |= models
    with pytest.raises(ConfigError) as refused:
        read_config(yaml_of(body), world.faults)
    told = {fault.path: fault.message for fault in refused.value.faults}
    assert told == {
        "models.no-space.space": "there is no space 's-none'; load its run, as in: nearfeed load s-none",
        "models.loading.space": "space 's-loading' is still being loaded; wait until `nearfeed spaces list` "
        "shows it as ready",
        "models.no-run.run": "there is no run 'r-none'; `nearfeed runs` shows those that there are",
        "models.other-kind.run": "run 'r-lists' is of kind lists, and must be of kind graph",
        "models.no-latest.latest": "lambdamart has written no run of kind ranker yet; make one with: "
        "nearfeed train --model lambdamart",
        "models.latest-of-another-kind.latest": "item-knn has written no run of kind lists yet; make one "
        "with: nearfeed train --model item-knn",
    }
    assert all(fault.line for fault in refused.value.faults)
