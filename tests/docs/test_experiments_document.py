"""docs/experiments.md is walked through: its design, and its commands one after the other."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from sqlalchemy import Engine
from tests.recommender.simulated_ledger import MINUTE, simulate, visits
from typer.testing import CliRunner

from nearfeed_backends.opening import open_database
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import experiments
from nearfeed_core.readings import DAY_MICROS, HOUR_MICROS
from nearfeed_recommender.experiments.live import LiveExperiments, Running, layers_of
from nearfeed_recommender.experiments.records import Experiment
from nearfeed_recommender.experiments.schema import Design, Traffic, first_shares
from nearfeed_standalone.cli import make_app

DOCUMENT = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text()


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("NEARFEED_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("NEARFEED_VECTORS_URL", "memory://")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(structlog, "configure", lambda **_: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    found = open_database(f"sqlite:///{tmp_path}/data/nearfeed.db")
    yield found
    found.dispose()


def run(command: str) -> str:
    result = CliRunner().invoke(make_app(), shlex.split(command)[1:])
    assert result.exit_code == 0, (command, result.output, result.exception)
    return result.stdout


def serve(engine: Engine, running: Running, ago: int, seed: int) -> None:
    come = visits(900, 2, now_micros() - ago)
    simulate(engine, running, come, lambda arm, _: 0.5 if arm == "latest" else 0.3, seed=seed)


def before() -> Running:
    """An experiment of the past, which has left its answers."""
    design = Design.model_validate({"name": "past", "target": "feed", "arms": {"a": None, "b": None}})
    traffic = Traffic(buckets=((0, 1_000),), shares=first_shares(design))
    return Running(1, layers_of([Experiment("past", 1, 1, "running", design, traffic, 0)]))


def test_the_document_does_what_it_says(engine: Engine, tmp_path: Path) -> None:
    design = re.findall(r"^```yaml latest\.yaml\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)[0]
    (tmp_path / "latest.yaml").write_text(design)
    shell = "".join(re.findall(r"^```sh\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL))
    serve(engine, before(), 2 * DAY_MICROS, 1)
    live = LiveExperiments(engine)
    told: dict[str, str] = {}
    for command in shell.splitlines():
        verb = command.split()[2]
        told[verb] = run(command)
        if verb == "ramp":
            with engine.begin() as transaction:
                earlier = now_micros() - 2 * HOUR_MICROS
                transaction.execute(experiments.update().values(started_at=earlier, revision=99))
            live.refresh()
            serve(engine, live.current, HOUR_MICROS + 30 * MINUTE, 2)
    expected: dict[str, Callable[[str], bool]] = {
        "size": lambda text: "A lift of 20.0% in ctr at feed is found with a chance of 80% by" in text,
        "apply": lambda text: "is a draft. To serve it: experiments start latest-first." in text,
        "start": lambda text: "runs at feed with 20.0% of layer feed." in text,
        "ramp": lambda text: "runs at feed with 100.0% of layer feed." in text,
        "list": lambda text: "latest-first" in text and "100.0%" in text,
        "show": lambda text: "holdout: 0.05" in text and "(as configured)" in text,
        "results": lambda text: "ctr of arm latest is higher than that of personal." in text,
        "evaluate": lambda text: "doubly robust" in text and "of experiment latest-first" in text,
        "stop": lambda text: "To serve its arm latest to all, name popular-and-latest at feed" in text,
    }
    assert told.keys() == expected.keys()
    for verb, holds in expected.items():
        assert holds(told[verb]), told[verb]
