"""A data folder with a real slice of MovieLens, made by the commands that a user gives."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from nearfeed_standalone.demo.films import films_of, load_ratings, newest_second

SMALL = {
    "NEARFEED_TEXT_EPOCHS": "1",
    "NEARFEED_EPOCHS": "12",
    "NEARFEED_TEXT_SAMPLES": "128",
    "NEARFEED_DIM": "32",
    "NEARFEED_LINEAR_DIM": "16",
    "DGLBACKEND": "pytorch",
}
FILMS = 250
READERS = 120
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def nearfeed(data_dir: Path, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Runs a command of `nearfeed` on a data folder."""
    command = [sys.executable, "-m", "nearfeed_standalone", "--data-dir", str(data_dir), *arguments]
    done = subprocess.run(
        command, env={**os.environ, **SMALL}, capture_output=True, text=True, timeout=300, check=False
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="session")
def run_nearfeed() -> Run:
    return nearfeed


@pytest.fixture(scope="session")
def slice_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Items, interactions and memberships of the most read films and the readers of most of them."""
    ratings = load_ratings()
    films = ratings["movieId"].value_counts(sort=True)["movieId"].head(FILMS)
    ratings = ratings.filter(pl.col("movieId").is_in(films.implode()))
    readers = ratings["userId"].value_counts(sort=True)["userId"].head(READERS)
    ratings = ratings.filter(pl.col("userId").is_in(readers.implode()))
    tables = films_of(ratings, shift=1_700_000_000 - newest_second(ratings))
    folder = tmp_path_factory.mktemp("slice")
    paths = {kind: folder / f"{kind}.parquet" for kind in ("items", "interactions", "memberships")}
    for kind, path in paths.items():
        getattr(tables, kind).write_parquet(path)
    return paths


@pytest.fixture(scope="session")
def imported(slice_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder after the imports."""
    data_dir = tmp_path_factory.mktemp("imported") / "data"
    for kind, path in slice_files.items():
        nearfeed(data_dir, "import", kind, str(path))
    return data_dir


@pytest.fixture(scope="session")
def trained(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a run that is not loaded."""
    data_dir = copy_of(imported, tmp_path_factory.mktemp("trained"))
    nearfeed(data_dir, "train", "--force")
    return data_dir


@pytest.fixture(scope="session")
def loaded(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an active space."""
    data_dir = copy_of(trained, tmp_path_factory.mktemp("loaded"))
    nearfeed(data_dir, "load", run_of(data_dir), "--activate")
    return data_dir


@pytest.fixture
def fresh_copy(tmp_path: Path) -> Callable[[Path], Path]:
    return lambda data_dir: copy_of(data_dir, tmp_path)


def copy_of(data_dir: Path, folder: Path) -> Path:
    return Path(shutil.copytree(data_dir, folder / "copy"))


def run_of(data_dir: Path) -> str:
    """The name of the folder's only run."""
    (manifest,) = (data_dir / "runs").glob("*/manifest.json")
    return manifest.parent.name


@pytest.fixture(scope="session")
def run_name() -> Callable[[Path], str]:
    return run_of
