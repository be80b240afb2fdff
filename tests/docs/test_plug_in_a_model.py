"""docs/plug-in-a-model.md as it stands: its scripts are run, their runs loaded, evaluated and answered."""

import csv
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import structlog
import yaml
from tests.embedder.taste import make_posts, make_readings, taste_of

from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.runs import open_run
from nearfeed_recommender.config.schema import Config
from nearfeed_recommender.models.neighbours import load_neighbours
from nearfeed_standalone.__main__ import main

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "plug-in-a-model.md").read_text()
UNREAD = 5
MOST_LINES = 25


def block(info: str) -> str:
    """The document's block of code with this info string."""
    (found,) = re.findall(rf"^```{re.escape(info)}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return str(found)


@dataclass(frozen=True)
class Shell:
    """Runs what the document writes in a folder with files to import; some posts nobody has read.

    `nearfeed` is called in this process, which has imported what it needs already.
    """

    folder: Path
    cut: str
    nearfeed: Callable[[list[str]], tuple[int, str]]

    def run(self, commands: str, status: int = 0) -> str:
        told = ""
        for line in commands.replace("CUT", self.cut).splitlines():
            command, *arguments = shlex.split(line)
            if command == "python":
                subprocess.run([sys.executable, *arguments], cwd=self.folder, check=True)
                continue
            ended, said = self.nearfeed(arguments)
            assert (command, ended) == ("nearfeed", status), said
            told += said
        return told


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def nearfeed(arguments: list[str]) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["nearfeed", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out + told.err

    yield Shell(tmp_path, write_files(tmp_path), nearfeed)
    signal.signal(signal.SIGTERM, handler)
    structlog.reset_defaults()


def write_files(folder: Path) -> str:
    """The scripts of the document and what they read; returns the time at 70 % of the readings."""
    for name in ("random_indexing.py", "also_read.py"):
        (folder / name).write_text(block(f"python {name}"))
    posts, readings = make_posts(120 + UNREAD), make_readings(each=40)
    columns = {"community_id": "c", "author_id": "a", "published_at": "2026-01-01T00:00:00Z"}
    _write(folder / "posts.csv", [{"item_id": post.item_id, "title": post.text, **columns} for post in posts])
    rows = [
        {
            "user_id": f"u{reader:03d}",
            "item_id": posts[item].item_id,
            "kind": "read",
            "occurred_at": told(time),
        }
        for reader, item, time in zip(readings.reader, readings.item, readings.time, strict=True)
    ]
    _write(folder / "readings.csv", rows)
    return told(np.sort(readings.time)[int(0.7 * len(readings))])


def told(micros: np.int64) -> str:
    return from_micros(int(micros)).isoformat()


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("name", ["random_indexing.py", "also_read.py"])
def test_the_scripts_are_short_and_know_nothing_of_nearfeed(name: str) -> None:
    script = block(f"python {name}")
    assert len([line for line in script.splitlines() if line]) <= MOST_LINES
    assert "nearfeed" not in script


def test_vectors_of_a_script_are_loaded_activated_and_compared(shell: Shell) -> None:
    shell.run("nearfeed import items posts.csv\nnearfeed import interactions readings.csv")
    told = shell.run(block("sh vectors"))
    assert "Space random-indexing-1 is ready: 120 posts, 60 readers" in told
    assert f"{UNREAD} posts stay without a vector" in told
    assert "random-indexing-1" in shell.run("nearfeed spaces list")
    told = shell.run("nearfeed evaluate random-indexing-1 --least-later 4", status=2)
    assert "has seen what it would be asked to find" in told
    told = shell.run(block("sh evaluate").replace("popularity", "popularity --least-later 4"))
    recalls = dict(re.findall(r"│ ([\w-]+) +│ +[\d.]+ │ +([\d.]+) ", told)[:3])
    assert float(recalls["random-indexing-past"]) > float(recalls["popularity"])


def test_lists_of_a_script_are_evaluated_and_answered(shell: Shell) -> None:
    shell.run("nearfeed import items posts.csv\nnearfeed import interactions readings.csv")
    told = shell.run(block("sh neighbours").replace("popularity", "popularity --least-later 4"))
    assert "cannot be told" in told
    neighbours = load_neighbours(open_run((shell.folder / "nearfeed-data/runs/also-read-1").as_uri()))
    near = neighbours.of("p000", 5)
    assert sum(taste_of(int(hit.item_id[1:])) == taste_of(0) for hit in near) >= 4
    assert list(neighbours.closest([("p000", 1.0), ("p003", 0.5)], 5, {"p000", "p003"}))


def test_the_parts_of_the_configuration_are_valid() -> None:
    path = ROOT / "services/recommender/nearfeed_recommender/config/default.yaml"
    config = yaml.safe_load(path.read_text())
    for part, added in yaml.safe_load(block("yaml serving.yaml")).items():
        config[part] |= added
    assert Config.model_validate(config).providers["also-read"].fallback == "popular-and-latest"
