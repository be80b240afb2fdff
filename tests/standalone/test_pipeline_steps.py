"""What each step depends on, does and puts out; operations are noted, or write what they would."""

import csv
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, insert, update

from nearfeed_backends.opening import open_database
from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.events import KINDS
from nearfeed_contracts.runs import Block, Manifest, open_run, run_url, write_manifest, write_vectors
from nearfeed_contracts.tables import active_space, interactions, items, memberships, spaces
from nearfeed_runtime.operations import Listed, Progress, Said, Step
from nearfeed_runtime.settings import Settings
from nearfeed_runtime.sql import upsert
from nearfeed_standalone.pipeline.context import Context, StepError, Work
from nearfeed_standalone.pipeline.definition import Activate, Evaluate, Gate, ImportSource, Load
from nearfeed_standalone.pipeline.fingerprints import ALL_DATA, data_in, digest
from nearfeed_standalone.pipeline.importing import import_inputs, take_in
from nearfeed_standalone.pipeline.measuring import evaluate_inputs, evaluate_run, gate_inputs, pass_gate
from nearfeed_standalone.pipeline.serving import activate_space, is_ready, is_served, load_space, serve_inputs
from nearfeed_standalone.pipeline.training import run_stands, train_inputs, train_run
from servers import fresh_database

Write = Callable[[str, Sequence[Mapping[str, Any]]], Path]
COLUMNS = ("model", "slice", "readers", "metric", "k", "mean")


@dataclass
class Installation:
    """A context whose operations are noted; `evaluate` writes a recall@20 for each model it is asked for."""

    folder: Path
    engine: Engine
    called: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    recall: dict[str, float] = field(default_factory=dict)
    trains: list[str] = field(default_factory=lambda: ["taste-1"])

    @property
    def context(self) -> Context:
        return Context(Settings(data_dir=self.folder), self.engine, self._run, self._train)

    def _run(self, name: str, arguments: Mapping[str, Any]) -> Iterator[Step]:
        self.called.append((name, dict(arguments)))
        yield Progress(name, 0, 1)
        if name == "evaluate":
            with Path(arguments["csv"]).open("w", newline="") as file:
                lines = csv.writer(file)
                lines.writerow(COLUMNS)
                for model in arguments["models"]:
                    lines.writerow((model, "all", 9, "recall", 20, self.recall[model]))
                    lines.writerow((model, "new readers", 1, "recall", 20, 0.9))

    def _train(self, _options: Mapping[str, Any]) -> None:
        for space in self.trains:
            self.write_run(space)

    def write_run(self, space: str, metrics: Mapping[str, Any] | None = None) -> Manifest:
        url = run_url(self.context.settings.runs_url, space)
        vectors = np.eye(4, dtype=np.float32)
        write_vectors(url, ["a", "b", "c", space], vectors)
        block = Block(start=0, dim=4)
        now = datetime.now(UTC)
        manifest = Manifest(space=space, model="taste", dim=4, blocks=(block,), created_at=now)
        return write_manifest(url, manifest.model_copy(update={"metrics": metrics or {}}))

    def write_space(self, manifest: Manifest, state: str = "ready") -> None:
        row = {"space": manifest.space, "state": state, "manifest": manifest.model_dump_json()}
        with self.engine.begin() as transaction:
            transaction.execute(insert(spaces).values(run_url="file:///x", created_at=1, **row))

    def serve(self, space: str) -> None:
        with self.engine.begin() as transaction:
            upsert(transaction, active_space, [{"slot": 1, "space": space, "activated_at": 1}])


@pytest.fixture
def here(tmp_path: Path, engine: Engine) -> Installation:
    return Installation(tmp_path / "data", engine)


def done(work: Work) -> tuple[list[Step], dict[str, Any]]:
    told: list[Step] = []
    while True:
        try:
            told.append(next(work))
        except StopIteration as end:
            return told, end.value


def recall(**models: float) -> dict[str, Any]:
    """Metrics as trainers tell them."""
    return {"models": {name: {"recall@20": {"mean": value}} for name, value in models.items()}}


# The data.

item = st.fixed_dictionaries(
    {"item_id": st.sampled_from("abc"), "version": st.integers(1, 2**62), "deleted": st.booleans()}
)
moment = st.integers(1, 2**51)
row = st.fixed_dictionaries(
    {"user_id": st.sampled_from("xyz"), "item_id": st.sampled_from("abc"), "newest_at": st.none() | moment}
    | {f"{kind}_at": st.none() | moment for kind in KINDS}
)
INTERACTIONS = st.lists(row, max_size=6, unique_by=lambda each: (each["user_id"], each["item_id"]))


@pytest.fixture(scope="module", params=["sqlite", pytest.param("mariadb", marks=pytest.mark.server)])
def empty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    sqlite = nullcontext(f"sqlite:///{tmp_path_factory.mktemp('data')}/nearfeed.db")
    with sqlite if request.param == "sqlite" else fresh_database() as url:
        engine = open_database(url)
        yield engine
        engine.dispose()


def put(engine: Engine, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    with engine.begin() as transaction:
        transaction.execute(delete(interactions))
        upsert(transaction, interactions, rows)
    return data_in(engine)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(INTERACTIONS, st.data())
def test_later_readings_are_other_data_and_the_same_in_another_order_are_not(
    empty: Engine, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    before = put(empty, rows)
    assert put(empty, data.draw(st.permutations(rows))) == before
    if rows:
        place = data.draw(st.integers(0, len(rows) - 1))
        column = data.draw(st.sampled_from([f"{kind}_at" for kind in KINDS]))
        seconds = data.draw(st.integers(1, 900_000))
        rows[place] = rows[place] | {column: (rows[place][column] or 0) + seconds * 1_000_000}
        assert put(empty, rows) != before
        assert put(empty, rows[:-1]) != before


def test_each_table_tells_of_its_changes(engine: Engine) -> None:
    def put_post(**changed: Any) -> str:
        post = {"item_id": "a", "version": 1, "deleted": False, "community_id": "c", "author_id": "d"}
        post |= {"title": "A", "body": "", "tags": "[]", "published_at": 1} | changed
        with engine.begin() as transaction:
            upsert(transaction, items, [post])
        return digest(data_in(engine, ALL_DATA))

    found = [put_post(), put_post(version=2), put_post(version=2, deleted=True), put_post(item_id="b")]
    with engine.begin() as transaction:
        transaction.execute(insert(memberships).values(user_id="x", community_id="c", joined_at=5))
    found.append(digest(data_in(engine, ALL_DATA)))
    with engine.begin() as transaction:
        row = {"user_id": "x", "item_id": "a", "rating_at": 5, "rating_value": 3.5, "newest_at": 5}
        transaction.execute(insert(interactions).values(row))
    found.append(digest(data_in(engine, ALL_DATA)))
    with engine.begin() as transaction:
        transaction.execute(update(interactions).values(rating_value=2.5))
    found.append(digest(data_in(engine, ALL_DATA)))
    assert len(set(found)) == len(found)


# The steps.


def test_a_file_is_known_by_its_content(here: Installation, written: Write) -> None:
    rows = [{"item_id": "a"}]
    first = ImportSource(kind="deletions", file=written("one.csv", rows))
    same = ImportSource(kind="deletions", file=written("two.csv", rows))
    other = ImportSource(kind="deletions", file=written("three.csv", [{"item_id": "b"}]))
    inputs = [import_inputs(here.context, [source], {}) for source in (first, same, other)]
    assert inputs[0] == inputs[1] != inputs[2]
    done(take_in(here.context, [first], {}))
    assert here.called == [("import", {"kind": "deletions", "path": str(first.file)})]
    missing = ImportSource(kind="items", file=here.folder / "none.csv")
    with pytest.raises(NearfeedError, match=r"none\.csv: cannot be read"):
        import_inputs(here.context, [missing], {})


def test_a_query_is_known_by_how_far_it_goes(
    here: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    map_ = tmp_path / "map.yaml"
    map_.write_text(
        "memberships: {table: members, key: id, user_id: {from: who}, community_id: {from: where_}}"
    )
    app = sqlite3.connect(tmp_path / "app.db")
    app.execute("CREATE TABLE members (id INTEGER, who TEXT, where_ TEXT)")
    source = ImportSource.model_validate({"map": map_, "from": f"sqlite:///{tmp_path}/app.db"})
    found = []
    for number in (1, 5, 3):
        app.execute("INSERT INTO members VALUES (?, 'x', 'c')", (number,))
        app.commit()
        found.append(digest(import_inputs(here.context, [source], {})))
        assert found[-1] == digest(import_inputs(here.context, [source], {}))
    assert len(set(found)) == 3

    unnamed = ImportSource(map=map_)
    with pytest.raises(
        StepError, match=r"map\.yaml names no database: add `from`, or set NEARFEED_IMPORT_FROM"
    ):
        import_inputs(here.context, [unnamed], {})
    monkeypatch.setenv("NEARFEED_IMPORT_FROM", f"sqlite:///{tmp_path}/app.db")
    assert digest(import_inputs(here.context, [unnamed], {})) == found[-1]
    done(take_in(here.context, [unnamed], {}))
    assert here.called == [
        ("import.database", {"url": f"sqlite:///{tmp_path}/app.db", "map_path": str(map_)})
    ]
    app.close()


def test_what_a_training_depends_on(here: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    def inputs(**options: Any) -> str:
        return digest(train_inputs(here.context, options, {}))

    first = inputs()
    assert inputs() == first
    assert len({first, inputs(epochs=1), inputs(epochs=2), inputs(model="als")}) == 4
    monkeypatch.setenv("NEARFEED_LOG_LEVEL", "ERROR")
    monkeypatch.setenv("NEARFEED_DEVICE", "cpu")
    assert inputs() == first
    monkeypatch.setenv("NEARFEED_DIM", "64")
    assert inputs() != first


def test_a_training_puts_out_the_run_that_it_wrote(here: Installation) -> None:
    here.write_run("older")
    _, output = done(train_run(here.context, {}, {}))
    assert output["run"] == "taste-1"
    assert run_stands(here.context, output)
    here.write_run("taste-1", {"other": "metrics"})
    assert run_stands(here.context, output)
    run = open_run(run_url(here.context.settings.runs_url, "taste-1"))
    write_manifest(run.url, run.manifest.model_copy(update={"space": "renamed"}))
    assert not run_stands(here.context, output)


@pytest.mark.parametrize(("trained", "told"), [([], "no run"), (["a", "b"], r"2 runs \(a, b\)")])
def test_a_training_that_leaves_not_one_run(here: Installation, trained: list[str], told: str) -> None:
    here.trains = trained
    with pytest.raises(StepError, match=f"Training has left {told} in file://"):
        done(train_run(here.context, {}, {}))


def trained(here: Installation, metrics: Mapping[str, Any]) -> dict[str, Any]:
    manifest = here.write_run("taste-1", metrics)
    return {"train": {"run": manifest.space, "digest": "d"}}


def test_what_the_trainer_has_measured_is_not_measured_again(here: Installation) -> None:
    outputs = trained(here, recall(taste=0.2, popularity=0.1, other=0.3))
    here.recall = {"als": 0.15}
    told, output = done(evaluate_run(here.context, Evaluate(models=["popularity", "als"]), outputs))
    assert [arguments["models"] for _, arguments in here.called] == [["als"]]
    models = {"popularity": {"recall@20": 0.1}, "als": {"recall@20": 0.15}}
    assert output == {"run": "taste-1", "metrics": {"recall@20": 0.2}, "models": models}
    assert isinstance(told[-1], Listed)
    assert [(line[0], line[1], line[3]) for line in told[-1].rows] == [
        ("taste-1", "0.2000", ""),
        ("popularity", "0.1000", "trainer"),
        ("als", "0.1500", "step"),
    ]


@pytest.mark.parametrize("metrics", [{}, {"models": {}}, {"models": "good"}, {"models": {"taste": 1}}])
def test_a_run_that_tells_nothing_is_ranked(here: Installation, metrics: dict[str, Any]) -> None:
    here.recall = {"popularity": 0.1, "taste-1": 0.4}
    _, output = done(evaluate_run(here.context, Evaluate(models=["popularity"]), trained(here, metrics)))
    assert output["metrics"] == {"recall@20": 0.4}


def test_what_an_evaluation_depends_on(here: Installation) -> None:
    section, outputs = Evaluate(models=["als"]), {"train": {"run": "a", "digest": "d"}}
    found = {
        digest(evaluate_inputs(here.context, section, outputs)),
        digest(evaluate_inputs(here.context, Evaluate(models=["ease"]), outputs)),
        digest(evaluate_inputs(here.context, section, {"train": {"run": "a", "digest": "e"}})),
    }
    with here.engine.begin() as transaction:
        transaction.execute(insert(interactions).values(user_id="x", item_id="a", read_at=1, newest_at=1))
    found.add(digest(evaluate_inputs(here.context, section, outputs)))
    assert len(found) == 4


def evaluated(own: float = 0.2, **models: float) -> dict[str, Any]:
    told = {name: {"recall@20": value} for name, value in models.items()}
    return {"evaluate": {"run": "taste-1", "metrics": {"recall@20": own}, "models": told}}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(*[st.integers(0, 20)] * 5)
def test_the_gate_lets_pass_what_is_no_further_below_than_it_may(
    here: Installation, own: int, als: int, ease: int, als_may: int, ease_may: int
) -> None:
    rule = Gate(may_lie_below={"als": als_may / 64, "ease": ease_may / 64})
    outputs = evaluated(own / 64, als=als / 64, ease=ease / 64)
    if own >= als - als_may and own >= ease - ease_may:
        assert done(pass_gate(here.context, rule, outputs))[1] == {"run": "taste-1", "recall@20": own / 64}
    else:
        with pytest.raises(StepError, match="The gate refuses run taste-1: its recall@20 is "):
            done(pass_gate(here.context, rule, outputs))


def test_the_gate_tells_why_it_refuses(here: Installation) -> None:
    rule = Gate(may_lie_below={"als": 0.01, "ease": 0})
    with pytest.raises(StepError) as refused:
        done(pass_gate(here.context, rule, evaluated(als=0.3, ease=0.1)))
    assert "is 0.2000, that of als 0.3000 (it may lie 0.01 below); the space that is served stays" in str(
        refused.value
    )
    assert "ease" not in str(refused.value)


def test_the_gate_compares_with_the_run_that_is_served(here: Installation) -> None:
    rule = Gate(may_lie_below={"active": 0.05})
    told, _ = done(pass_gate(here.context, rule, evaluated()))
    assert told[0] == Said("No other run is served yet, with which it could be compared.")
    here.write_space(here.write_run("good", recall(taste=0.3)))
    here.write_space(here.write_run("silent"))
    here.serve("silent")
    told, _ = done(pass_gate(here.context, rule, evaluated()))
    assert "silent, which is served, tells no recall@20" in str(told[0])
    here.serve("good")
    with pytest.raises(StepError, match=r"that of active 0\.3000"):
        done(pass_gate(here.context, rule, evaluated()))
    done(pass_gate(here.context, rule, evaluated(0.26)))


def test_a_metric_that_is_not_told(here: Installation) -> None:
    rule = Gate(metric="mrr@10", may_lie_below={"als": 0})
    with pytest.raises(StepError, match=r"gate.metric: taste-1 tells no mrr@10; it tells recall@20"):
        done(pass_gate(here.context, rule, evaluated(als=0.1)))


def test_what_a_gate_depends_on(here: Installation) -> None:
    rules = [Gate(may_lie_below={"als": 0}), Gate(may_lie_below={"als": 0.1})]
    found = [gate_inputs(here.context, rule, evaluated(own)) for rule in rules for own in (0.1, 0.2)]
    assert len({digest(inputs) for inputs in found}) == 4


def test_a_gate_depends_on_the_space_that_is_served_where_it_is_compared_with_it(here: Installation) -> None:
    def found(rule: Gate) -> str:
        return digest(gate_inputs(here.context, rule, evaluated(als=0.1)))

    alone, compared = Gate(may_lie_below={"als": 0}), Gate(may_lie_below={"active": 0})
    former = [found(alone)]
    served = [found(compared)]
    for space in ("good", "better", "taste-1"):
        here.write_space(here.write_run(space, recall(taste=0.3)))
        here.serve(space)
        former.append(found(alone))
        served.append(found(compared))
    assert len(set(former)) == 1
    none, good, better, itself = served
    assert len({none, good, better}) == 3
    assert itself == none


def test_a_space_is_loaded_once_and_served(here: Installation) -> None:
    _, run = done(train_run(here.context, {}, {}))
    outputs = {"train": run}
    assert serve_inputs(here.context, Load(), outputs) == {"run": run}
    assert not is_ready(here.context, run)
    assert done(load_space(here.context, Load(wait=5), outputs))[1] == run
    assert done(activate_space(here.context, Activate(), outputs))[1] == run
    assert here.called == [
        ("load", {"run": "taste-1", "activate": False, "wait": 5.0}),
        ("spaces.activate", {"space": "taste-1"}),
    ]
    manifest = open_run(run_url(here.context.settings.runs_url, "taste-1")).manifest
    here.write_space(manifest)
    assert is_ready(here.context, run)
    assert not is_served(here.context, run)
    here.serve("taste-1")
    assert is_served(here.context, run)
    here.called.clear()
    told, _ = done(load_space(here.context, Load(), outputs))
    assert (told, here.called) == ([Said("Space taste-1 is loaded already.")], [])
    assert not is_ready(here.context, run | {"digest": "of another run of that name"})
    with here.engine.begin() as transaction:
        transaction.execute(update(spaces).values(state="loading"))
    assert not is_ready(here.context, run)
    assert not is_served(here.context, run)
