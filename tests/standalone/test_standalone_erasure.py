"""`erasure` on the command line: alone, and in the recommender's own image."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import structlog
import typer
from click.testing import Result
from typer.testing import CliRunner

from nearfeed_contracts.runs import Manifest, RankedBatch, write_lists, write_manifest
from nearfeed_contracts.topics import READER_RETENTION
from nearfeed_recommender.app.cli import app as recommender_app
from nearfeed_recommender.users.erasure_check import RemainsError
from nearfeed_standalone.cli import make_app

Call = Callable[..., Result]


@pytest.fixture(params=["nearfeed", "nearfeed-recommender"])
def call(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    monkeypatch.setenv("NEARFEED_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("NEARFEED_VECTORS_URL", "memory://")
    monkeypatch.setattr(structlog, "configure", lambda **_: None)
    app: typer.Typer = make_app() if request.param == "nearfeed" else recommender_app
    return lambda *arguments: CliRunner().invoke(app, ["erasure", *arguments])


def test_old_runs_with_readers_end_and_an_unerased_reader_fails_the_check(call: Call, tmp_path: Path) -> None:
    assert "has not been erased" in str(call("check", "u").exception)
    url = f"file://{tmp_path}/data/runs/old"
    long_ago = datetime.now(UTC) - READER_RETENTION - timedelta(days=1)
    batch = RankedBatch(pa.array(["u"]), pa.array(["p"]), np.ones(1, np.int64), np.ones(1, np.float32))
    write_lists(url, [batch])
    write_manifest(url, Manifest(space="old", kind="lists", model="old", created_at=long_ago))
    before = call("check", "u")
    assert before.exit_code == 1
    assert isinstance(before.exception, RemainsError)
    assert "run old" in before.stdout
    assert "Removed run old" in call("prune").stdout
    assert "run old" not in call("check", "u").stdout
