"""The main path over real servers, with every service its own process: it serves, suffers and changes."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from benchmarks.deployment import api
from benchmarks.proxy import Proxy, proxied
from tests.flow.readers import Visit, eventually, feed, like_post_and_take_down, readers_of, visited
from tests.flow.servers.spaces import Scores, scores_of, write_half_of

from nearfeed_contracts.runs import run_url

pytestmark = [pytest.mark.server, pytest.mark.slow]
BY_VECTOR = ("personal", "new")


@pytest.fixture(scope="module")
def proxy(deployment: Any) -> Iterator[Proxy]:
    with proxied(urlsplit(deployment.installation.vectors_url).port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def behind_proxy(deployment: Any, proxy: Proxy) -> Iterator[httpx.Client]:
    """A second API, which reaches the vector server through the proxy alone.

    Its driver would wait two minutes, far longer than the client: what it answers in time, it answers
    because of the feed's own deadline.
    """
    url = urlsplit(deployment.installation.vectors_url)
    through = url._replace(netloc=f"127.0.0.1:{proxy.port}", query=f"{url.query}&timeout=120")
    installation = replace(deployment.installation, vectors_url=through.geturl())
    with api(installation) as client:
        yield client


@pytest.fixture
def healed(proxy: Proxy) -> Iterator[None]:
    yield
    proxy.pass_on()


@pytest.mark.usefixtures("healed")
@pytest.mark.parametrize("fails", [Proxy.refuse, Proxy.be_silent])
def test_without_the_vector_store_feeds_are_degraded_until_it_is_back(
    behind_proxy: httpx.Client, proxy: Proxy, fails: Any
) -> None:
    readers = readers_of(behind_proxy, 3)
    unread = {reader: len(feed(behind_proxy, reader, limit=100)["items"]) for reader in readers}
    before = degraded_so_far(behind_proxy)
    fails(proxy)
    for reader in readers * 3:
        page = feed(behind_proxy, reader, limit=100)
        assert page["degraded"]
        assert {item["source"] for item in page["items"]} <= {"popular", "latest"}
        assert len(page["items"]) == unread[reader] > 0
    proxy.pass_on()
    for reader in readers:
        eventually(lambda reader=reader: not feed(behind_proxy, reader)["degraded"])
    assert degraded_so_far(behind_proxy) - before >= 3 * len(readers)


def degraded_so_far(client: httpx.Client) -> float:
    return sample(client.get("/metrics").text, 'nearfeed_feeds_total{degraded="true"')


def sample(metrics: str, beginning: str) -> float:
    """The sum of the samples that begin so."""
    lines = [line for line in metrics.splitlines() if line.startswith(beginning)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def test_from_a_like_and_a_post_to_the_feed_and_a_takedown(deployment: Any) -> None:
    client = deployment.client
    (reader,) = readers_of(client, 1)
    assert feed(client, reader, limit=10)["space"] == deployment.space
    like_post_and_take_down(client, reader)


def test_a_space_is_loaded_served_and_rolled_back_under_load(deployment: Any) -> None:
    installation, first = deployment.installation, deployment.space
    readers = readers_of(deployment.client, 6)
    url = (installation.folder / "half").as_uri()
    second = write_half_of(run_url(installation.runs_url, first), url)
    moments = []

    def give(*command: str) -> None:
        moments.append(time.monotonic())
        installation.run("nearfeed-indexer", *command)
        moments.append(time.monotonic())
        count = len(visits)
        eventually(lambda: len(visits) > count + len(readers))

    with visited(deployment.client, readers, threads=3) as visits:
        give("load", url)
        give("spaces", "activate", second)
        give("spaces", "rollback")
    served = [_spaces(visits, *moments[start : start + 2]) for start in (1, 3, 5)]
    assert served == [{first}, {second}, {first}]
    shown = {item["id"] for visit in visits for page in visit.pages for item in page["items"]}
    scores = {space: scores_of(installation, space, shown) for space in (first, second)}
    for visit in visits:
        _of_one_space(visit, scores)
    assert _apart(visits, scores)


def _spaces(visits: list[Visit], after: float, before: float = float("inf")) -> set[str]:
    """What was served to visits that began after one command had ended and before the next was given."""
    return {visit.space for visit in visits if after <= visit.begun and visit.ended < before}


def _of_one_space(visit: Visit, scores: dict[str, Scores]) -> None:
    shown = [item for page in visit.pages for item in page["items"]]
    assert {page["space"] for page in visit.pages} == {visit.space}
    assert not any(page["degraded"] for page in visit.pages)
    assert len({item["id"] for item in shown}) == len(shown)
    assert {item["source"] for item in shown} <= set(BY_VECTOR)
    for item in shown:
        assert item["score"] == pytest.approx(scores[visit.space].of(visit.reader, item["id"]), abs=1e-4)


def _apart(visits: list[Visit], scores: dict[str, Scores]) -> bool:
    """Whether the spaces' scores differ by more than is allowed, so that a mixture would be seen."""
    one, other = scores.values()
    pairs = {(visit.reader, item["id"]) for visit in visits for item in visit.pages[0]["items"]}
    return sum(abs(one.of(*pair) - other.of(*pair)) > 1e-3 for pair in pairs) > 0.9 * len(pairs)
