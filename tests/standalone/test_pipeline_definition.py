"""A pipeline as YAML: what it may say, and where a fault is told to be."""

from pathlib import Path

import pytest

from nearfeed_contracts.errors import NearfeedError
from nearfeed_standalone.pipeline.definition import STEPS, Pipeline, format_definition, read_pipeline
from nearfeed_standalone.training import words_of

WHOLE = """
name: nightly
import:
  - {kind: items, file: posts.parquet}
  - {map: maps/app.yaml, from: "mysql+mysqlconnector://app:hush@db/app"}
train: {model: als, epochs: 3, force: true}
evaluate: {models: [popularity, als]}
gate: {metric: ndcg@20, may_lie_below: {als: 0.01, active: 0}}
load: {wait: 60}
activate:
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nightly.yaml"


def read(path: Path, text: str) -> Pipeline:
    path.write_text(text)
    return read_pipeline(str(path))


def test_a_whole_pipeline(path: Path) -> None:
    pipeline = read(path, WHOLE)
    assert tuple(pipeline.steps) == STEPS
    assert pipeline.import_ is not None
    assert pipeline.import_[0].file == path.parent / "posts.parquet"
    assert pipeline.import_[1].map == path.parent / "maps" / "app.yaml"
    assert pipeline.section("train") == {"model": "als", "epochs": 3, "force": True}


def test_the_one_that_is_built_in() -> None:
    assert tuple(read_pipeline("default").steps) == STEPS


def test_what_is_kept_of_it_has_no_password(path: Path) -> None:
    told = format_definition(read(path, WHOLE))
    assert "hush" not in told
    assert '"from":"mysql+mysqlconnector://app:***@db/app"' in told


def test_steps_may_be_left_out(path: Path) -> None:
    assert read(path, "name: a\ntrain:\nload: {}").steps == ["train", "load"]
    assert read(path, "name: a\nimport: {kind: items, file: /x.csv}").steps == ["import"]


FAULTS = {
    "name: a\nevaluate: {models: [als]}": "evaluate: needs the step train before it.",
    "name: a\ntrain:\ngate: {may_lie_below: {als: 0}}": "gate: needs the step evaluate before it.",
    "name: a\ntrain:\nactivate:": "activate: needs the step load before it.",
    "name: a\ntrain:\nevaluate: {models: [als]}\ngate: {may_lie_below: {ease: 0}}": (
        "gate: may_lie_below names ease, which is not among evaluate.models."
    ),
    "name: a\ntrain:\nevaluate: {models: [als]}\ngate: {may_lie_below: {als: -1}}": (
        "gate.may_lie_below.als: input should be greater than or equal to 0."
    ),
    "name: a\nimport:\n  - {kind: items, file: a}\n  - {kind: people, file: b}": "import[1].kind: ",
    "name: a\nimport: {kind: items}": "import: needs either file or map.",
    "name: a\nimport: {file: a.csv}": "import: needs kind and file together.",
    "name: a\nimport: {kind: items, file: a, from: 'sqlite:///x'}": "import: from belongs to map.",
    "name: a\nimport: {map: a.yaml, from: hush}": "import.from: is no URL such as ",
    "name: a\ntrain: {epochs: {at: 1}}": "train: epochs must be a number, a text, true, false or a list",
    "name: a\ntrian: {}": "trian: is unknown; here may stand name, import, train,",
    "name: a\nload: {wiat: 1}\ntrain:": "load.wiat: is unknown; here may stand wait.",
    "name: a b\ntrain:": "name: must not hold white space",
    "train:": "name: is missing.",
    "name: a": "has no step; there are import, train, evaluate, gate, load, activate.",
    "name: a\ntrain:\ntrain:": "line 3, column 1: 'train' stands twice.",
    "name: [": "line 1, column ",
}


@pytest.mark.parametrize("text", list(FAULTS))
def test_a_fault_is_told_with_its_place(path: Path, text: str) -> None:
    with pytest.raises(NearfeedError) as told:
        read(path, text)
    assert str(told.value).startswith(f"nightly.yaml: {FAULTS[text]}")
    assert "hush" not in str(told.value)


def test_a_name_that_nothing_has() -> None:
    with pytest.raises(NearfeedError, match="'nightly' is no pipeline"):
        read_pipeline("nightly")


def test_options_as_a_command_line_has_them() -> None:
    options = {
        "text_epochs": 0,
        "force": True,
        "new_posts": False,
        "dim": None,
        "model": "als",
        "set": ["a=1", "b"],
    }
    assert list(words_of(options)) == ["--text-epochs=0", "--force", "--model=als", "--set=a=1", "--set=b"]
