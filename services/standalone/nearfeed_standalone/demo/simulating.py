"""Simulated readers visit the served feed in the background, and the console is told what comes of it."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import orjson
import polars as pl
from rich.console import Console
from sqlalchemy import Connection, Engine

from nearfeed_contracts.fields import now_micros
from nearfeed_recommender.experiments.records import experiment_of, list_experiments
from nearfeed_recommender.experiments.report_schema import Results
from nearfeed_recommender.experiments.snapshots import current_results
from nearfeed_runtime.operations import Operation, show
from nearfeed_runtime.sql import read_connection
from nearfeed_standalone.demo.files import HELD_OUT, ITEMS
from nearfeed_standalone.demo.holding_out import READINGS_OF_A_SIMULATED
from nearfeed_standalone.demo.tastes import Tastes, tastes_of
from nearfeed_standalone.demo.turns import Simulation, Tally, come_and_go
from nearfeed_standalone.demo.visiting import visit
from nearfeed_standalone.services import Services

NAME = "personal-or-popular"
CONTROL, PERSONAL = "latest-and-popular", "personal"
_DESIGN = {
    "description": "A demonstration with simulated readers: does the personal feed please them more?",
    "target": "feed",
    "arms": {CONTROL: "popular-and-latest", PERSONAL: "personal"},
    "metric": "ctr",
    "lift": 0.2,
}
_STATED = {"author": "nearfeed demo", "reason": "a demonstration with simulated readers"}


def ensure_running(engine: Engine, operations: Mapping[str, Operation], console: Console) -> str:
    """The name of the experiment: the one that runs, or another where the last was stopped.

    Raises ConfigError and ConflictError where the folder's configuration or another experiment stands
    against it.
    """
    with read_connection(engine) as connection:
        name, state = _newest(connection)
    if state == "running":
        console.print(f"experiment {name} goes on", highlight=False)
        return name
    if state is None:
        document = orjson.dumps({"name": name, **_DESIGN}).decode()
        list(operations["experiments.apply"](text=document, **_STATED))
    show(operations["experiments.start"](name=name, **_STATED), console)
    return name


def _newest(connection: Connection) -> tuple[str, str | None]:
    """The name to use and its state; None where there is no such experiment yet."""
    own = [each for each in list_experiments(connection) if each.name.split("~")[0] == NAME]
    if not own:
        return NAME, None
    if own[0].state == "stopped":
        return f"{NAME}~{len(own) + 1}", None
    return own[0].name, own[0].state


_TIMEOUT_SECONDS = 10.0
_NEEDED = {"feed", "events"}
Tell = Callable[[str], None]


@contextmanager
def simulated_readers(
    services: Services, folder: Path, simulation: Simulation, command: str, console: Console
) -> Iterator[Tell]:
    """Makes the experiment and the readers, who come once what is yielded is told the URL.

    `folder` has the demo's files, `command` is how Nearfeed is called for it. They leave at the end.
    """
    name = ensure_running(services.engine, services.operations, console)
    tastes = tastes_of(pl.read_parquet(folder / HELD_OUT), pl.read_parquet(folder / ITEMS), simulation.seed)
    simulation = replace(simulation, readers=min(simulation.readers, len(tastes.readers)))
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    stop, threads = threading.Event(), list[threading.Thread]()

    def begin(url: str) -> None:
        say(_introduction(simulation, name, command, url))
        work = partial(_simulate, services, tastes, simulation, name, url, stop, console)
        threads.append(threading.Thread(target=work, name="simulated-readers", daemon=True))
        threads[-1].start()

    try:
        yield begin
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _simulate(
    services: Services,
    tastes: Tastes,
    simulation: Simulation,
    name: str,
    url: str,
    stop: threading.Event,
    console: Console,
) -> None:
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    with httpx.Client(
        base_url=url, headers=_headers(services), timeout=_TIMEOUT_SECONDS, trust_env=False
    ) as client:
        tally = come_and_go(
            simulation,
            partial(visit, client, tastes),
            stop,
            lambda so_far: say(_course(services, name, so_far)),
        )
    if not stop.is_set():
        say(f"\nThe simulated readers have left: {tally.told()}. What came of it:")
        show(services.operations["experiments.results"](name=name), console)


def _headers(services: Services) -> dict[str, str]:
    """A key of the settings that may do what readers do, where there is one."""
    keys = services.settings.api_keys.items()
    key = next((key for key, scopes in keys if set(scopes) >= _NEEDED), None)
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def _introduction(simulation: Simulation, name: str, command: str, url: str) -> str:
    return (
        f"\nExperiment {name} is a demonstration: {simulation.readers} readers are simulated, of whom\n"
        f"at most {simulation.per_second:g} a second visit the feed over the API, for {simulation.minutes:g} "
        "minutes. Their taste comes of\n"
        "ratings that were held out, and neither imported nor trained on: the later third of each reader\n"
        f"who has {READINGS_OF_A_SIMULATED} and more. What lies further down is looked at less. They draw by "
        f"seed {simulation.seed}.\n"
        f"Watch them at {url}/#/experiments, and with `{command} experiments results {name}`.\n"
    )


def _course(services: Services, name: str, tally: Tally) -> str:
    with read_connection(services.engine) as connection:
        results = current_results(connection, experiment_of(connection, name), now_micros())
    return f"{tally.told()}. {_by_arm(results)} {results.verdict}"


def _by_arm(results: Results) -> str:
    told = [
        f"{arm.arm}: {arm.clicks / arm.impressions:.1%} of {arm.impressions:,} clicked"
        for arm in results.arms
        if arm.impressions
    ]
    return "; ".join(told) + "."
