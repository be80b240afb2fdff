"""A data folder that was made with one vector store is served with another."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from nearfeed_contracts.runs import Block, Manifest, run_url, write_manifest, write_vectors
from nearfeed_standalone.lock import read_owner
from nearfeed_standalone.running import make_runner

SPACE = "taste"
DIM = 8
POSTS = [f"p{number}" for number in range(40)]


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Callable[..., Path]) -> Path:
    """A folder whose space is active, with its vectors in Milvus Lite."""
    folder = tmp_path / "data"
    monkeypatch.setenv("NEARFEED_VECTORS_URL", f"milvus-lite://{folder}/vectors.db")
    posts = [
        {
            "item_id": post,
            "community_id": "c",
            "author_id": "ann",
            "title": post,
            "published_at": 1_700_000_000,
        }
        for post in POSTS
    ]
    readings = [
        {"user_id": "bob", "item_id": post, "kind": "read", "occurred_at": 1_700_000_100}
        for post in POSTS[:3]
    ]
    joined = [{"user_id": "bob", "community_id": "c", "joined_at": 1_700_000_000}]
    run = make_runner(folder)
    for kind, rows in {"items": posts, "interactions": readings, "memberships": joined}.items():
        list(run("import", {"kind": kind, "path": str(written(f"{kind}.csv", rows))}))
    vectors = np.random.default_rng(0).normal(size=(len(POSTS), DIM)).astype(np.float32)
    url = run_url((folder / "runs").as_uri(), SPACE)
    write_vectors(url, POSTS, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    block = Block(start=0, dim=DIM, normalize=True)
    write_manifest(
        url, Manifest(space=SPACE, model="taste", dim=DIM, blocks=(block,), created_at=datetime.now(UTC))
    )
    list(run("load", {"run": SPACE, "activate": True}))
    monkeypatch.delenv("NEARFEED_VECTORS_URL")
    return folder


def feed_of(address: str) -> dict[str, Any]:
    answer = httpx.get(f"{address}/v1/feed?user_id=bob&limit=30", trust_env=False)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def served_feed(data_dir: Path, environment: dict[str, str]) -> tuple[dict[str, Any], str]:
    """The feed of a server of the folder, and what it printed."""
    command = [
        sys.executable,
        "-m",
        "nearfeed_standalone",
        "serve",
        "--port",
        "0",
        "--data-dir",
        str(data_dir),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | environment
    ) as process:
        while (owner := read_owner(data_dir)) is None or owner.address is None:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        feed = feed_of(owner.address)
        process.send_signal(signal.SIGTERM)
        return feed, process.communicate(timeout=20)[0]


def test_a_folder_of_another_store_is_served_as_before(data_dir: Path) -> None:
    before, _ = served_feed(data_dir, {"NEARFEED_VECTORS_URL": f"milvus-lite://{data_dir}/vectors.db"})
    after, printed = served_feed(data_dir, {})
    assert f"The vector store has no vectors of space {SPACE}: loading its run again." in printed
    assert (after["space"], after["degraded"]) == (SPACE, False)
    assert {item["source"] for item in after["items"][:20]} == {"personal"}
    assert [item["id"] for item in after["items"]] == [item["id"] for item in before["items"]]
    assert list((data_dir / "vectors").glob("*.db"))
    again, printed = served_feed(data_dir, {})
    assert "loading its run again" not in printed
    assert [item["id"] for item in again["items"]] == [item["id"] for item in after["items"]]
