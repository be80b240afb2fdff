"""The command line: what it says, and how it ends."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from nearfeed_standalone.__main__ import main

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def process_state() -> Iterator[None]:
    """Undoes what a program sets for its whole process: where logs go, and what ends it."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)
    structlog.reset_defaults()


@pytest.fixture
def nearfeed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    process_state: None,
) -> Call:
    """Calls the program; returns its exit status, its output and what it said on standard error."""
    monkeypatch.setenv("NEARFEED_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("NEARFEED_VECTORS_URL", "memory://")
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments: str, **environment: str) -> tuple[int, str, str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["nearfeed", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return call


def test_help_names_every_command(nearfeed: Call) -> None:
    status, told, _ = nearfeed("--help")
    assert status == 0
    for name in (
        "demo",
        "serve",
        "import",
        "migrate",
        "train",
        "runs",
        "evaluate",
        "load",
        "spaces",
        "config",
        "pipeline",
    ):
        assert f"│ {name} " in told


def test_version(nearfeed: Call) -> None:
    status, told, _ = nearfeed("--version")
    assert (status, told.split()[0]) == (0, "nearfeed")


SENTENCES = {
    "a missing file": (["import", "items", "none.csv"], {}, "none.csv: cannot be read (No such file"),
    "a bind without keys": (
        ["serve", "--host", "0.0.0.0"],
        {},
        "NEARFEED_HOST: 0.0.0.0 can be reached from other machines; make a key first",
    ),
    "an unknown back end": (["migrate"], {"NEARFEED_DATABASE_URL": "oracle://x"}, "NEARFEED_DATABASE_URL: "),
    "a bad setting": (["migrate"], {"NEARFEED_HALF_LIFE_DAYS": "-1"}, "NEARFEED_HALF_LIFE_DAYS: "),
    "an unknown log level": (["spaces", "list"], {"NEARFEED_LOG_LEVEL": "LOUD"}, "NEARFEED_LOG_LEVEL: "),
    "an unknown space": (["spaces", "activate", "none"], {}, "none"),
    "an unknown model": (["train", "--model", "x"], {}, "--model: there is no trainer of 'x'"),
    "an option of another model": (
        ["train", "--model", "als:factors=8", "--epochs", "3"],
        {},
        "als has no option 'epochs'",
    ),
    "no run": (["load", "none"], {}, "none"),
    "no pipeline": (["pipeline", "run", "none"], {}, "'none' is no pipeline: name a .yaml file"),
    "a missing pipeline": (["pipeline", "run", "none.yaml"], {}, "none.yaml: none.yaml cannot be read"),
    "no run of a pipeline": (["pipeline", "show", "none"], {}, "There is no run 'none' of a pipeline"),
    "a training without data": (["pipeline", "run"], {}, "Training ended with status 2"),
}


@pytest.mark.parametrize("case", list(SENTENCES))
def test_what_the_user_can_mend_is_one_sentence(case: str, nearfeed: Call) -> None:
    arguments, environment, sentence = SENTENCES[case]
    status, _, told = nearfeed(*arguments, **environment)
    assert status == 2
    assert told.startswith("nearfeed: ")
    assert sentence in told
    assert len(told.strip().splitlines()) == 1


def test_a_folder_of_something_else(nearfeed: Call, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    folder = ["--data-dir", str(tmp_path)]
    for arguments in (
        ["demo", "--fresh", *folder],
        [*folder, "demo"],
        ["serve", *folder],
        [*folder, "serve"],
    ):
        status, out, told = nearfeed(*arguments)
        assert (status, out) == (2, "")
        assert "holds files that are not Nearfeed's" in told
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_migrate_makes_a_database_that_others_accept(nearfeed: Call) -> None:
    assert "has the newest schema" in nearfeed("migrate")[1]
    assert nearfeed("spaces", "list")[::2] == (0, "")


def test_steps_of_a_pipeline(nearfeed: Call, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("name: empty\nimport: []")
    arguments = [str(tmp_path / "empty.yaml"), "--run", "one"]
    assert "Nothing to import" in nearfeed("pipeline", "step", "import", *arguments)[1]
    assert "has no step gate: nothing to do" in nearfeed("pipeline", "step", "gate", *arguments)[1]
    assert "done" in nearfeed("pipeline", "list")[1]
    assert "import" in nearfeed("pipeline", "show", "one")[1]
    assert nearfeed("pipeline", "step", "gates", *arguments)[0] == 2
    assert nearfeed("pipeline", "run", str(tmp_path / "empty.yaml"), "--from", "gate")[0] == 2


def test_data_dir_before_a_command(nearfeed: Call, tmp_path: Path) -> None:
    assert nearfeed("--data-dir", str(tmp_path / "other"), "migrate")[0] == 0
    assert (tmp_path / "other" / "nearfeed.db").exists()
