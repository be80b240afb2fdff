"""docs/graphql.md answers as it says: its queries are asked of the demo's films."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert

from nearfeed_backends.opening import open_database, open_log, open_store
from nearfeed_contracts.fields import now_micros, to_micros
from nearfeed_contracts.runs import Block, Manifest
from nearfeed_contracts.tables import active_space, communities, edges, interactions, items, spaces, vertices
from nearfeed_contracts.vector_store import StoredVector, VectorStore
from nearfeed_recommender.app.bootstrap import bootstrap
from nearfeed_recommender.graphql import limits
from nearfeed_recommender.graphql.limits import MAX_COST
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.sql import upsert, write_transaction
from nearfeed_standalone.demo.films import Films, films_of, load_ratings

DOCUMENT = (Path(__file__).parents[2] / "docs" / "graphql.md").read_text()


def blocks(info: str) -> list[str]:
    """The document's blocks of code with this info string."""
    return re.findall(rf"^```{re.escape(info)}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The demo's films, with vectors of their genres and years instead of a trained model's."""
    settings = RecommenderSettings(data_dir=tmp_path_factory.mktemp("films"), secret="a test's secret")
    engine, log, store = (
        open_database(settings.database_url),
        open_log(settings.log_url),
        open_store("memory://"),
    )
    films = films_of(load_ratings(), 0)
    _fill(engine, films)
    _fill_space(engine, store, films)
    service = bootstrap(settings, engine=engine, log=log, store=store)
    yield TestClient(service.app)
    service.close()
    log.close()
    engine.dispose()


def _fill(engine: Engine, films: Films) -> None:
    rows = [
        {**row, "tags": orjson.dumps(row["tags"]).decode(), "published_at": to_micros(row["published_at"])}
        | {"version": 1, "deleted": False, "body": ""}
        for row in films.items.iter_rows(named=True)
    ]
    reads = films.interactions.filter(pl.col("kind") == "read", pl.col("user_id").is_in(["1", "2", "3"]))
    times = [
        (row["user_id"], row["item_id"], to_micros(row["occurred_at"])) for row in reads.iter_rows(named=True)
    ]
    with write_transaction(engine) as transaction:
        upsert(transaction, items, rows)
        names = sorted(set(films.items["community_id"]))
        upsert(transaction, communities, [{"community_id": name, "created_at": 1} for name in names])
        read = [
            {"user_id": user, "item_id": item, "read_at": at, "newest_at": at} for user, item, at in times
        ]
        upsert(transaction, interactions, read)
        upsert(
            transaction, vertices, [{"kind": "studio", "vertex_id": "pixar", "properties": '{"since":1986}'}]
        )
        for label, start, end in [("made", "pixar", "1"), ("made_by", "1", "pixar")]:
            row = {"label": label, "from_id": start, "to_id": end, "score": 1.0}
            upsert(transaction, edges, [row])


def _fill_space(engine: Engine, store: VectorStore, films: Films) -> None:
    genres = sorted(set(films.items["tags"].explode().drop_nulls()))
    dim = len(genres) + 1
    blocks = (Block(start=0, dim=dim),)
    manifest = Manifest(space="s", model="test", dim=dim, blocks=blocks, created_at=datetime.now(UTC))
    with write_transaction(engine) as transaction:
        row = {"space": "s", "state": "ready", "manifest": manifest.model_dump_json(), "run_url": "-"}
        transaction.execute(insert(spaces).values(**row, created_at=now_micros()))
        upsert(transaction, active_space, [{"slot": 1, "space": "s", "activated_at": now_micros()}])
    store.create_space("s", dim)
    store.upsert("s", [_vector(row, genres) for row in films.items.iter_rows(named=True)])
    store.flush("s")


def _vector(row: dict[str, Any], genres: list[str]) -> StoredVector:
    vector = np.array([genre in row["tags"] for genre in genres] + [0.5], np.float32)
    vector /= np.linalg.norm(vector)
    return StoredVector(
        row["item_id"], row["community_id"], row["author_id"], to_micros(row["published_at"]), vector
    )


def ask(client: TestClient, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = client.post("/graphql", json={"query": query, "variables": variables}).json()
    assert "errors" not in answer, answer
    return dict(answer["data"])


def test_the_queries_of_the_document(client: TestClient) -> None:
    read, comedies, by_title, community, linked = blocks("graphql")

    readings = ask(client, read)["reader"]["readings"]
    assert len(readings) == 10
    assert all(len(reading["item"]["similar"]) == 5 for reading in readings)

    found = ask(client, comedies)["items"]
    assert len(found) == 5
    assert all(len(item["similar"]) == 5 for item in found)
    assert {item["title"] for item in ask(client, by_title)["items"]} == {"Blues Brothers 2000"}

    (variables,) = blocks("json variables")
    told = ask(client, community, orjson.loads(variables))["community"]
    assert len(told["items"]) == 2
    assert told["members"] == []

    answer = ask(client, linked)
    assert answer["vertex"]["properties"] == {"since": 1986}
    assert [each["item"]["title"] for each in answer["vertex"]["related"]] == ["Toy Story"]
    assert answer["item"]["related"] == [{"id": "pixar", "vertex": {"properties": {"since": 1986}}}]


def test_the_command_of_the_document(client: TestClient) -> None:
    (command,) = blocks("sh")
    body = re.search(r"-d '(.*)'", command)
    assert body
    assert len(ask(client, orjson.loads(body[1])["query"])["reader"]["readings"]) == 10


def test_no_title_of_the_demo_holds_the_year_1995(client: TestClient) -> None:
    """What the document says of titles; such a query is answered, with nothing."""
    search = "tags: *Comedy* AND title: *1995*"
    query = (
        "query($search: String!) { items(search: $search) { title similar(limit: 5) { item { title } } } }"
    )
    assert ask(client, query, {"search": search}) == {"items": []}
    assert not any("1995" in title for title in films_of(load_ratings(), 0).items["title"])


def test_the_costs_of_the_document(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *_ = blocks("graphql")
    listing = "{ communities(limit: 50) { items(limit: 50) { id } } }"
    for cost, query in [(221, first), (605, second), (2_550, listing)]:
        assert cost <= MAX_COST
        assert f"{cost:,}" in DOCUMENT
        monkeypatch.setattr(limits, "MAX_COST", cost - 1)
        (error,) = client.post("/graphql", json={"query": query}).json()["errors"]
        assert f"may cost {cost:,};" in error["message"]
        monkeypatch.undo()
