"""The main path with real processes, real models and real data: import, train, load, feed, react."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmarks.server import served
from tests.flow.readers import join_and_see_own_community_alone, like_post_and_take_down, readers_of

pytestmark = pytest.mark.slow
SECONDS = 30.0


def test_from_a_like_and_a_post_to_the_feed_and_a_takedown(
    loaded: Path, fresh_copy: Callable[[Path], Path]
) -> None:
    with served(fresh_copy(loaded)) as client:
        (reader,) = readers_of(client, 1)
        like_post_and_take_down(client, reader, SECONDS)
        join_and_see_own_community_alone(client, reader, SECONDS)


def test_commands_reach_the_serving_process(
    loaded: Path, fresh_copy: Callable[[Path], Path], run_nearfeed: Any, run_name: Callable[[Path], str]
) -> None:
    data_dir = fresh_copy(loaded)
    with served(data_dir) as client:
        listed = run_nearfeed(data_dir, "spaces", "list")
        assert "active" in listed.stdout
        refused = run_nearfeed(data_dir, "spaces", "drop", run_name(data_dir), check=False)
        assert refused.returncode == 2
        assert "Traceback" not in refused.stderr
        assert client.get("/readyz").json()["space"] == run_name(data_dir)
