"""The demo's experiment: the personal feed against the latest and popular posts."""

from collections.abc import Mapping

import orjson
from rich.console import Console
from sqlalchemy import Connection, Engine

from nearfeed_recommender.experiments.records import list_experiments
from nearfeed_runtime.operations import Operation, show
from nearfeed_runtime.sql import read_connection

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
