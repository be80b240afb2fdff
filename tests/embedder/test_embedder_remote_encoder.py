"""Encoders in a child process: the same vectors, and a child that ends and comes back."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfeed_contracts.runs import Run
from nearfeed_embedder.dataset import Post
from nearfeed_embedder.encoder import load_encoder
from nearfeed_embedder.remote_encoder import EncoderChild, RemoteEncoderError

POSTS = [Post("new", "c1", ("sport",), "a striker on the pitch"), Post("other", "c2", (), "flour and butter")]
PATIENCE_SECONDS = 60


@pytest.fixture
def child() -> Iterator[EncoderChild]:
    with closing(EncoderChild("cpu")) as child:
        yield child


def process_of(child: EncoderChild) -> "subprocess.Popen[bytes]":
    assert child._child is not None
    return child._child


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_vectors_are_those_of_this_process_also_from_a_child_that_was_replaced(
    child: EncoderChild, trained: Run
) -> None:
    here = load_encoder(trained, torch.device("cpu"))
    there = child.open(trained.url)
    assert here is not None
    assert there is not None
    assert child._child is None  # it is started by the first posts
    expected = here.encode(POSTS)
    for _ in range(2):
        vectors, contexts = there.encode(POSTS)
        assert contexts is not None
        np.testing.assert_allclose(vectors, expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(contexts, expected[1], rtol=1e-5, atol=1e-6)
        os.kill(process_of(child).pid, signal.SIGKILL)
        process_of(child).wait()


def test_a_child_without_work_ends_and_one_that_fails_goes_on(tmp_path: Path) -> None:
    with closing(EncoderChild("cpu", idle_seconds=1.0)) as child:
        for _ in range(2):
            with pytest.raises(RemoteEncoderError, match="run_without_files"):
                child.encode(f"file://{tmp_path}/run_without_files", POSTS)
        first = process_of(child)
        wait_until(lambda: first.poll() is not None)
        assert first.returncode == 0
        with pytest.raises(RemoteEncoderError, match="run_without_files"):
            child.encode(f"file://{tmp_path}/run_without_files", POSTS)
        second = process_of(child)
        assert second.pid != first.pid
    assert second.poll() == 0
