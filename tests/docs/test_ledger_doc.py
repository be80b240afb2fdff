"""docs/ledger.md tells what holds: its calls are accepted, its metrics and tables exist."""

import json
import re
from pathlib import Path
from typing import get_args

from prometheus_client import REGISTRY

from nearfeed_contracts.events import Attribution
from nearfeed_contracts.tables import metadata
from nearfeed_recommender.http.events import EventsIn
from nearfeed_recommender.http.exposure_log import router

DOCUMENT = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text()


def table(head: str) -> list[str]:
    """The first column, without backquotes and labels, of the table whose first line begins so."""
    lines = DOCUMENT.split(f"| {head} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [line.split("`")[1].split("{")[0] for line in lines]


def test_the_call_is_accepted() -> None:
    (body,) = re.findall(r"curl --json '(.*?)' http", DOCUMENT, re.DOTALL)
    assert len(EventsIn.model_validate(json.loads(body.replace("'\"$REQUEST_ID\"'", "abc"))).events) == 3


def test_attributions_tables_and_metrics_are_those_that_there_are() -> None:
    assert table("`attribution`") == list(get_args(Attribution))
    assert set(table("table")) <= metadata.tables.keys()
    known = {metric.name for metric in REGISTRY.collect()}
    assert {name.removesuffix("_total") for name in table("metric")} <= known


def test_the_admin_calls_are_those_that_there_are() -> None:
    told = set(re.findall(r"8080(/v1/admin/ledger\S*?)[?'\"/]", DOCUMENT))
    assert told == {router.prefix}
