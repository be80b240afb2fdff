"""Every service its own process over MariaDB, Kafka and a vector server, with the same run in each."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from benchmarks.deployment import deployed
from benchmarks.installation import Installation, fresh_installation
from tests.servers import kafka_url, server_port
from tests.vector_servers import milvus_url, opensearch_url

VECTOR_URLS = {"milvus": milvus_url, "opensearch": opensearch_url}
SMALL = {"text_epochs": "1", "text_samples": "128", "epochs": "12", "dim": "32"}
# These tests ask what happens, on machines that may be slow; a short deadline has tests of its own.
PATIENT = {"search_timeout_ms": "10000"}


@dataclass(frozen=True)
class Deployment:
    """A running installation with an active space, and a client of its API."""

    installation: Installation
    client: httpx.Client
    space: str


@pytest.fixture(scope="session")
def shared_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module", params=VECTOR_URLS)
def installation(
    request: pytest.FixtureRequest, shared_runs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    with fresh_installation(
        tmp_path_factory.mktemp(request.param),
        vectors_url=VECTOR_URLS[request.param](),
        log_url=kafka_url(),
        database_port=server_port("MariaDB", "NEARFEED_MARIADB_PORT", 13306),
        runs_url=shared_runs.as_uri(),
    ) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def deployment(
    installation: Installation, shared_runs: Path, slice_files: dict[str, Path]
) -> Iterator[Deployment]:
    """Imports, trains where no run is there yet, starts the processes, loads."""
    for kind, path in slice_files.items():
        installation.run("nearfeed", "import", kind, str(path))
    if not list(shared_runs.iterdir()):
        installation.run("nearfeed-embedder", "train", "--force", **SMALL)
    (run,) = shared_runs.iterdir()
    with deployed(installation, **PATIENT) as client:
        installation.run("nearfeed-indexer", "load", run.name, "--activate")
        yield Deployment(installation, client, run.name)
