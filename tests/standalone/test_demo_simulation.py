"""Simulated readers: what they do with a page, who comes when, and that it all arrives in the results."""

import io
import itertools
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from tests.standalone.simulated_demo import few_ratings

from nearfeed_backends.opening import open_database
from nearfeed_contracts.errors import ConflictError
from nearfeed_recommender.app.bootstrap import operations_alone
from nearfeed_recommender.experiments.records import list_experiments
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.settings import load_settings
from nearfeed_runtime.sql import read_connection
from nearfeed_standalone.demo import files
from nearfeed_standalone.demo.holding_out import split
from nearfeed_standalone.demo.simulating import NAME, ensure_running
from nearfeed_standalone.demo.tastes import Tastes
from nearfeed_standalone.demo.turns import Simulation, Tally, come_and_go, turns
from nearfeed_standalone.demo.visiting import KINDS, acts_on, examination, goes_on, visit
from nearfeed_standalone.lock import read_owner

seeds = st.integers(0, 2**32)
Start = Callable[..., subprocess.Popen[str]]


def page_of(seed: int, size: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Posts, how far they are to a taste, and draws."""
    random = np.random.default_rng(seed)
    return [f"p{number}" for number in range(size)], random.random(size), random.random((size, 3))


@settings(deadline=None)
@given(seeds, st.integers(0, 10), st.integers(0, 200))
def test_all_is_seen_and_nothing_is_read_unclicked_or_liked_unread(seed: int, size: int, first: int) -> None:
    posts, taste, draws = page_of(seed, size)
    acts = acts_on(posts, taste, first, draws)
    done = {kind: {act.item_id for act in acts if act.kind == kind} for kind in ("impression", *KINDS)}
    assert sum(map(len, done.values())) == len(acts)
    assert done["like"] <= done["read"] <= done["click"] <= done["impression"] == set(posts)
    assert acts == acts_on(posts, taste, first, draws)


@settings(deadline=None)
@given(seeds, st.integers(1, 10), st.integers(0, 200), st.integers(1, 200))
def test_what_is_clicked_further_down_would_be_clicked_further_up(
    seed: int, size: int, first: int, down: int
) -> None:
    posts, taste, draws = page_of(seed, size)
    assert set(acts_on(posts, taste, first + down, draws)) <= set(acts_on(posts, taste, first, draws))
    above, below = examination(np.array([first, first + down], float))
    assert 0 < below < above <= 1


@settings(deadline=None)
@given(seeds, st.integers(1, 10), st.floats(0, 1))
def test_what_is_more_to_the_taste_is_clicked_rather(seed: int, size: int, more: float) -> None:
    posts, taste, draws = page_of(seed, size)
    pleased = acts_on(posts, taste + (1 - taste) * more, 0, draws)
    assert set(acts_on(posts, taste, 0, draws)) <= set(pleased)
    assert goes_on(pleased, 0.5) is any(act.kind == "click" for act in pleased)


@settings(deadline=None)
@given(seeds, st.integers(1, 30))
def test_all_come_before_any_comes_again_and_draw_as_the_seed_says(seed: int, readers: int) -> None:
    def some() -> list[tuple[int, float]]:
        return [
            (number, draw.random()) for number, draw in itertools.islice(turns(seed, readers), 2 * readers)
        ]

    came = some()
    assert came == some()
    for turn in (came[:readers], came[readers:]):
        assert sorted(number for number, _ in turn) == list(range(readers))
    assert len({draw for _, draw in came}) == 2 * readers


def test_visits_that_fail_are_counted_and_end_it_when_they_go_on() -> None:
    outcomes = itertools.chain([False, True, False], itertools.repeat(False))

    def fails(_number: int, _draw: np.random.Generator) -> Counter[str]:
        if next(outcomes):
            return Counter(click=2)
        raise httpx.ConnectError("nobody there\nat all")

    tally = come_and_go(Simulation(3, 60, 1e6, 1), fails, threading.Event(), lambda _: None)
    assert (tally.visits, tally.failed, tally.done["click"]) == (1, 21, 2)
    assert tally.told().endswith("21 visits failed, the last with: nobody there")


def test_no_time_is_no_visit_and_a_stop_is_an_end() -> None:
    stop = threading.Event()

    def stops(_number: int, _draw: np.random.Generator) -> Counter[str]:
        stop.set()
        return Counter()

    assert come_and_go(Simulation(3, 0, 1, 1), stops, stop, lambda _: None) == Tally()
    assert come_and_go(Simulation(3, 60, 1, 1), stops, stop, lambda _: None).visits == 1


def test_a_visit_tells_what_was_done_with_each_page() -> None:
    told: list[dict[str, Any]] = []
    asked: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            told.append(orjson.loads(request.content))
            return httpx.Response(202)
        asked.append(dict(request.url.params))
        page = int(asked[-1].get("cursor", "0"))
        items = [{"id": f"{page}-{number}"} for number in range(10 if page < 2 else 0)]
        return httpx.Response(
            200, json={"request_id": "r", "items": items, "next_cursor": str(page + 1) if page < 2 else None}
        )

    client = httpx.Client(base_url="http://loop", transport=httpx.MockTransport(answer))
    places = {f"{page}-{number}": 10 * page + number for page in (0, 1) for number in range(10)}
    tastes = Tastes(("ann",), places, np.ones((1, 20), np.float32))
    done = [visit(client, tastes, 0, np.random.default_rng(seed)) for seed in range(20)]
    assert {params["user_id"] for params in asked} == {"ann"}
    events = [event for body in told for event in body["events"]]
    assert {(event["user_id"], event["request_id"]) for event in events} == {("ann", "r")}
    assert Counter(event["kind"] for event in events) == sum(done, Counter())
    assert all(len(body["events"]) >= 10 for body in told)
    assert {count["impression"] for count in done} == {10, 20}


def test_a_folder_is_made_with_it_or_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ratings = few_ratings()
    monkeypatch.setattr(files, "load_ratings", lambda: ratings)
    plain, simulated = tmp_path / "plain" / "demo", tmp_path / "simulated" / "demo"
    paths = files.films_in(simulated, simulated=True)
    kept, held_out = split(ratings)
    imported = pl.read_parquet(paths["interactions"]).filter(pl.col("kind") == "read")
    assert len(imported) == len(kept)
    apart = pl.read_parquet(simulated / files.HELD_OUT)
    assert apart.equals(held_out.select(apart.columns))
    assert not set(imported.select("user_id", "item_id").iter_rows()) & {
        (str(user), str(film)) for user, film in apart.select("userId", "movieId").iter_rows()
    }
    assert len(pl.read_parquet(paths["items"])) == ratings["movieId"].n_unique()
    files.films_in(plain)
    paths["items"].unlink()
    for folder, wanted in ((plain, True), (simulated, False)):
        with pytest.raises(ConflictError, match=r"--simulate, and is trained on other data .* --fresh"):
            files.films_in(folder, simulated=wanted)
    files.films_in(simulated, simulated=True)


def test_the_experiment_goes_on_until_it_is_stopped(tmp_path: Path) -> None:
    told, stated = io.StringIO(), {"author": "Ann", "reason": "seen enough"}
    settings = load_settings(RecommenderSettings, data_dir=tmp_path)
    with operations_alone(settings) as operations:
        engine = open_database(settings.database_url)
        run = partial(ensure_running, engine, operations, Console(file=told, width=200))
        assert (run(), run()) == (NAME, NAME)
        assert told.getvalue().count("goes on") == 1
        list(operations["experiments.stop"](name=NAME, **stated))
        assert (run(), run()) == (f"{NAME}~2", f"{NAME}~2")
        with read_connection(engine) as connection:
            running = list_experiments(connection, "running")
        engine.dispose()
    assert [each.name for each in running] == [f"{NAME}~2"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a demo with simulated readers in the folder `data`."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        script = Path(__file__).with_name("simulated_demo.py")
        command = [sys.executable, str(script), "--simulate", "--port", "0", *arguments]
        command += ["--data-dir", str(tmp_path / "data")]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(subprocess.Popen(command, **pipes))
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_what_simulated_readers_do_arrives_in_the_results_by_arm(start: Start, tmp_path: Path) -> None:
    process = start("--readers", "24", "--per-second", "20", "--seed", "5")
    arms = _arms_of(_until(process, lambda: _results(tmp_path, process), _has_come))
    assert set(arms) == {"latest-and-popular", "personal"}
    for arm in arms.values():
        assert arm["impressions"] >= arm["clicks"] >= arm["reads"] >= arm["likes"]
        assert arm["failed"] == arm["degraded"] == 0
    assert 2 <= sum(arm["readers"] for arm in arms.values()) <= 24
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=20)
    assert process.returncode == 0, told
    assert "Experiment personal-or-popular is a demonstration: 24 readers are simulated" in told
    assert "They draw by seed 5." in told
    assert "Traceback" not in told


def _until(
    process: subprocess.Popen[str], ask: Callable[[], Any], enough: Callable[[Any], bool]
) -> dict[str, Any]:
    """What is answered once it is enough, while the process runs."""
    while not enough(found := ask()):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.5)
    return dict(found)


def _results(tmp_path: Path, process: subprocess.Popen[str]) -> dict[str, Any]:
    """The results that are served; empty before the experiment is."""
    owner = read_owner(tmp_path / "data")
    if owner is None or owner.pid != process.pid or owner.address is None:
        return {}
    url = f"{owner.address}/v1/admin/experiments/personal-or-popular/results"
    try:
        return dict(httpx.get(url, trust_env=False).raise_for_status().json())
    except httpx.TransportError:
        return {}


def _arms_of(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {arm["arm"]: arm for arm in results.get("arms", ())}


def _has_come(results: dict[str, Any]) -> bool:
    arms = _arms_of(results).values()
    return len(arms) == 2 and all(arm["impressions"] and arm["clicks"] for arm in arms)
