"""Runs an operation here, or in the process that holds the data folder."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import orjson

from nearfeed_contracts.errors import NearfeedError
from nearfeed_runtime.operations import Runner, Step, runner_of, step_from_json
from nearfeed_runtime.settings import load_settings
from nearfeed_standalone.admin import ERROR
from nearfeed_standalone.lock import FolderInUseError, Owner, hold
from nearfeed_standalone.services import open_services

# These touch SQL and run files alone, which several processes may do at a time.
_WITHOUT_FOLDER = ("train", "retrain", "runs", "evaluate")
# These feed all spaces, of which none may be missing in the store then.
_FEEDING_SPACES = ("load", "import", "import.database")
# Steps come when they come; only the connection itself must stand soon.
_TIMEOUT = httpx.Timeout(None, connect=5.0)


def make_runner(data_dir: Path, *, services_elsewhere: bool = False) -> Runner:
    """A runner that holds the folder for the operation, or asks the server that holds it.

    Where it holds the folder it does the services' work meanwhile, unless they run elsewhere.
    """

    def run(name: str, arguments: Mapping[str, Any]) -> Iterator[Step]:
        if name in _WITHOUT_FOLDER:
            yield from _run_beside(data_dir, name, arguments)
            return
        with ExitStack() as resources:
            try:
                resources.enter_context(hold(data_dir))
            except FolderInUseError as busy:
                if busy.owner is None or busy.owner.address is None:
                    raise
                yield from ask(busy.owner, name, arguments)
                return
            services = resources.enter_context(open_services(data_dir))
            services.flow.in_loops = services_elsewhere
            if name in _FEEDING_SPACES:
                yield from services.operations["spaces.restore"]()
            yield from runner_of(services.operations)(name, arguments)

    return run


def _run_beside(data_dir: Path, name: str, arguments: Mapping[str, Any]) -> Iterator[Step]:
    from nearfeed_embedder.bootstrap import bootstrap
    from nearfeed_embedder.settings import EmbedderSettings

    settings = load_settings(EmbedderSettings, data_dir=data_dir)
    with closing(bootstrap(settings, consume=False)) as embedder:
        yield from runner_of(embedder.operations)(name, arguments)


def ask(owner: Owner, name: str, arguments: Mapping[str, Any]) -> Iterator[Step]:
    """The steps of an operation that the folder's owner carries out. Raises NearfeedError as it does."""
    url = f"{owner.address}/v1/admin/operations/{name}"
    headers = {"Authorization": f"Bearer {owner.token}"}
    try:
        with (
            httpx.Client(timeout=_TIMEOUT, trust_env=False) as client,
            client.stream("POST", url, json=dict(arguments), headers=headers) as answer,
        ):
            _check(answer)
            for line in answer.iter_lines():
                yield _step_of(orjson.loads(line))
    except httpx.TransportError as error:
        raise NearfeedError(
            f"Process {owner.pid} at {owner.address} holds the data folder but broke off ({error}); "
            "give the command again."
        ) from None


def _check(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    answer.read()
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"the server answered {answer.status_code}"
    raise NearfeedError(detail)


def _step_of(body: Mapping[str, Any]) -> Step:
    if body["step"] == ERROR:
        raise NearfeedError(str(body["text"]))
    return step_from_json(body)
