"""Trainings by two processes that torchrun starts, which meet by gloo."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sqlalchemy import Engine
from tests.embedder.taste import make_readings

from nearfeed_contracts.runs import Run, list_runs
from nearfeed_embedder.devices import device_of
from nearfeed_embedder.graph.folds import Examples, draw_examples
from nearfeed_runtime.settings import SettingsError

PROGRAM = str(Path(__file__).with_name("training_process.py"))
PYTHON = [sys.executable]
TORCHRUN = [*PYTHON, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# A group that hangs fails its test by this.
SECONDS = 300


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    alone = {"OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        command, env={**os.environ, **alone}, capture_output=True, text=True, timeout=SECONDS
    )


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    for name, launcher in {"one": PYTHON, "two": TORCHRUN}.items():
        ended = run(*launcher, PROGRAM, str(tmp_path / f"{name}.npz"), "0", "0")
        assert ended.returncode == 0, ended.stderr
    one, two = (np.load(tmp_path / f"{name}.npz") for name in ("one", "two"))
    assert two["epochs"] == one["epochs"] == 3
    for part in ("vectors", "as_new"):
        np.testing.assert_allclose(two[part], one[part], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("dying", ["0", "1"])
def test_when_a_process_dies_the_other_ends_too(tmp_path: Path, dying: str) -> None:
    ended = run(*TORCHRUN, PROGRAM, str(tmp_path / "two.npz"), "5", dying)
    assert ended.returncode != 0
    assert "exitcode  : 9" in ended.stderr
    assert not (tmp_path / "two.npz").exists()


def train_command(engine: Engine, folder: Path, text_model: str) -> subprocess.CompletedProcess[str]:
    return run(
        *[*TORCHRUN, "-m", "nearfeed_embedder", "train", "--force", "--epochs", "2", "--text-epochs", "0"],
        *["--dim", "16", "--linear-dim", "8"],
        NEARFEED_DATA_DIR=str(folder),
        NEARFEED_DATABASE_URL=engine.url.render_as_string(hide_password=False),
        NEARFEED_TEXT_MODEL=text_model,
        NEARFEED_DEVICE="cpu",
    )


@pytest.mark.slow
def test_a_group_writes_the_run_of_one_process(
    filled: Engine, trained: Run, tmp_path: Path, tiny_text_model: str
) -> None:
    ended = train_command(filled, tmp_path, tiny_text_model)
    assert ended.returncode == 0, ended.stderr
    (made,) = list_runs(f"file://{tmp_path}/runs")
    assert ended.stdout.count("Writing run") == ended.stdout.count(f"Run {made.manifest.space}") == 1
    (of_group,), (of_one,) = made.vector_batches(), trained.vector_batches()
    assert of_group.item_ids == of_one.item_ids
    np.testing.assert_allclose(of_group.vectors, of_one.vectors, atol=1e-3)
    np.testing.assert_allclose(of_group.contexts, of_one.contexts, atol=1e-3)
    assert made.manifest.configuration["choice"] == trained.manifest.configuration["choice"]


@pytest.mark.slow
def test_what_the_operator_can_mend_is_told_once(filled: Engine, tmp_path: Path) -> None:
    ended = train_command(filled, tmp_path, str(tmp_path / "nowhere"))
    assert ended.returncode != 0
    assert ended.stderr.count("nearfeed: ") == 1
    assert "exitcode  : 2" in ended.stderr


def test_shares_of_a_batch_are_rows_of_the_whole_batch() -> None:
    readings = make_readings(readers=5, posts=40, each=12)

    def drawn(share: slice) -> tuple[Examples, float]:
        rng = np.random.default_rng(0)
        examples = draw_examples(
            *(readings, 40, readings.rows_by_reader(), 30.0, rng),
            kept_share=(0.2, 0.8),
            target_power=3.0,
            share=share,
        )
        return examples, rng.random()

    whole, following = drawn(slice(None))
    for share in (slice(0, None, 2), slice(1, None, 2), slice(5, None, 6)):
        part, following_too = drawn(share)
        torch.testing.assert_close(part.history, whole.history[share])
        torch.testing.assert_close(part.target, whole.target[share])
        assert following_too == following


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of("auto") == torch.device("cuda")
    assert device_of("cuda:1") == torch.device("cuda", 1)
    monkeypatch.setenv("WORLD_SIZE", "4")
    for local_rank in (0, 1):
        monkeypatch.setenv("LOCAL_RANK", str(local_rank))
        assert device_of("auto") == device_of("cuda") == torch.device("cuda", local_rank)
        assert device_of("cpu") == torch.device("cpu")
    with pytest.raises(SettingsError, match="cuda:1 is one device"):
        device_of("cuda:1")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(
        SettingsError, match=r"more processes than CUDA devices here \(2\).*--nproc-per-node 2"
    ):
        device_of("auto")
