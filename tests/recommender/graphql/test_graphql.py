"""GraphQL: what it answers, what nobody may see, how often it asks its back ends, and what it refuses."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from tests.recommender.conftest import World

from nearfeed_contracts.events import KINDS
from nearfeed_contracts.tables import edges, vertices
from nearfeed_contracts.vector_store import Filter, Hit, StoreUnavailableError
from nearfeed_recommender.config.schema import LiveRelation, Relation, StoredRelation
from nearfeed_recommender.graphql.limits import MAX_ALIASES, MAX_COST, MAX_DEPTH
from nearfeed_recommender.graphql.sources import GraphSources
from nearfeed_recommender.graphql.threads import THREADS, in_thread
from nearfeed_recommender.graphql.types import InteractionKind
from nearfeed_recommender.http.context import ApiContext
from nearfeed_runtime.sql import upsert, write_transaction


def ask(world: World, query: str, **variables: Any) -> dict[str, Any]:
    answer = world.client.post("/graphql", json={"query": query, "variables": variables})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def data(world: World, query: str, **variables: Any) -> dict[str, Any]:
    answer = ask(world, query, **variables)
    assert "errors" not in answer, answer
    return dict(answer["data"])


def faults(world: World, query: str, **variables: Any) -> list[str]:
    return [error["message"] for error in ask(world, query, **variables)["errors"]]


def read(world: World, user: str, *items: str, kind: str = "read", **more: Any) -> None:
    events = [{"user_id": user, "item_id": item, "kind": kind, **more} for item in items]
    assert world.client.post("/v1/events", json={"events": events}).status_code == 202
    world.settle()


def load(world: World, *rows: tuple[str, str, str, float, str | None]) -> None:
    names = [column.name for column in edges.columns]
    with write_transaction(world.engine) as transaction:
        upsert(transaction, edges, [dict(zip(names, row, strict=True)) for row in rows])


def context_of(world: World) -> ApiContext:
    return world.service.app.state.context  # type: ignore[no-any-return]


def configure(
    world: World, relations: dict[str, Relation], nearest: Callable[..., Any] | None = None
) -> None:
    """What a configuration would say."""
    state = world.service.app.state
    graph: GraphSources = state.graph
    state.graph = GraphSources(graph.engine, graph.rule, relations.get, nearest or graph.nearest)


def test_posts_that_a_reader_read_with_similar_ones(served: World) -> None:
    read(served, "u1", *(f"p{n}" for n in range(10)))
    found = data(
        served,
        '{ reader(id: "u1") { readings(limit: 10) { weight at kinds item { id similar(limit: 5) '
        "{ score item { id title } } } } } }",
    )["reader"]["readings"]
    assert {reading["item"]["id"] for reading in found} == {f"p{n}" for n in range(10)}
    assert found[0]["weight"] == 1
    for reading in found:
        of_http = served.client.get(f"/v1/items/{reading['item']['id']}/similar?limit=5").json()["items"]
        similar = reading["item"]["similar"]
        assert [(each["item"]["id"], each["score"]) for each in similar] == [
            (each["id"], pytest.approx(each["score"])) for each in of_http
        ]


def test_readings_are_told_by_kind_with_weight_and_rating(served: World) -> None:
    read(served, "u1", "p1", occurred_at="2026-01-01T00:00:00Z")
    read(served, "u1", "p2", kind="rating", value=4.5, occurred_at="2026-04-01T00:00:00Z")
    read(served, "u1", "p3", kind="hide", occurred_at="2026-05-01T00:00:00Z")
    query = """query($kinds: [InteractionKind!]) {
      reader(id: "u1") { readings(kinds: $kinds) { weight kinds rating at item { id } } }
    }"""

    def found(kinds: list[str] | None) -> list[dict[str, Any]]:
        return list(data(served, query, kinds=kinds)["reader"]["readings"])

    assert [row["item"]["id"] for row in found(None)] == ["p2", "p1"]
    assert [row["weight"] for row in found(None)] == [1, pytest.approx(0.5)]
    assert found(["RATING"]) == [
        {
            "weight": 1,
            "kinds": ["RATING"],
            "rating": 4.5,
            "at": "2026-04-01T00:00:00+00:00",
            "item": {"id": "p2"},
        }
    ]
    assert [(row["item"]["id"], row["weight"]) for row in found(["HIDE", "READ"])] == [
        ("p1", pytest.approx(0.5)),
        ("p3", 0),
    ]
    assert found([]) == []
    assert {kind.value for kind in InteractionKind} == set(KINDS)


def test_communities_and_who_is_in_them(served: World) -> None:
    for user in ("ann", "bob"):
        served.client.put(f"/v1/users/{user}/communities/c1")
    read(served, "ann", "p1")
    found = data(
        served,
        "{ communities(limit: 5) { id items(limit: 2) { id community { id } readers { reader { id } } } "
        "members { id communities { id } } } }",
    )["communities"]
    assert [community["id"] for community in found] == ["c0", "c1"]
    assert [item["id"] for item in found[1]["items"]] == ["p19", "p17"]
    assert found[1]["members"] == [{"id": name, "communities": [{"id": "c1"}]} for name in ("bob", "ann")]
    assert data(served, '{ item(id: "p1") { readers { reader { id } kinds } } }') == {
        "item": {"readers": [{"reader": {"id": "ann"}, "kinds": ["READ"]}]}
    }


def test_what_nobody_knows_is_null(served: World) -> None:
    query = '{ item(id: "x") { id } community(id: "x") { id } vertex(kind: "x", id: "x") { id } ' + (
        'reader(id: "x") { readings { at } communities { id } } }'
    )
    nothing = {"readings": [], "communities": []}
    assert data(served, query) == {"item": None, "community": None, "vertex": None, "reader": nothing}


def test_a_post_that_was_taken_down_is_nowhere(served: World) -> None:
    read(served, "u1", "p1", "p3")
    load(served, ("next", "p1", "p3", 2, None), ("next", "p1", "p5", 1, None), ("next", "p1", "v", 0, None))
    served.client.delete("/v1/items/p3")  # the vector store has not heard of it yet
    assert "p3" in {hit.item_id for hit in served.store.search("s1", vector_of(served, "p1"), 20, Filter())}
    found = data(
        served,
        '{ item(id: "p3") { id } items(limit: 100) { id } reader(id: "u1") { readings { item { id } } } '
        'one: item(id: "p1") { similar(limit: 100) { id } related(label: "next") { id item { id } } } '
        'community(id: "c1") { items(limit: 100) { id } } }',
    )
    assert '"p3"' not in str(found).replace("'", '"')
    assert len(found["items"]) == 19
    assert len(found["one"]["similar"]) == 18
    assert found["one"]["related"] == [{"id": "p5", "item": {"id": "p5"}}, {"id": "v", "item": None}]


def vector_of(world: World, item: str) -> Any:
    return world.store.fetch("s1", [item])[item]


SIMILAR = '{ items(search: "title: p1", limit: 3) { id similar(limit: 2) { id score item { id } } } }'


def test_the_query_is_the_same_by_stored_edges_and_by_a_model(served: World) -> None:
    read(served, "u1", "p1")
    live = data(served, SIMILAR)
    rows = [
        ("alike", item["id"], each["id"], each["score"], None)
        for item in live["items"]
        for each in item["similar"]
    ]
    load(served, *rows, ("alike", "p19", "no-post", 99.0, None))
    configure(served, {"similar": StoredRelation(edges="alike")})
    assert data(served, SIMILAR) == live

    asked = []

    def neighbours(model: str, ids: list[str], limit: int) -> dict[str, list[Hit]]:
        asked.append((model, set(ids)))
        return {row[1]: [Hit(each[2], each[3]) for each in rows if each[1] == row[1]] for row in rows}

    configure(served, {"similar": LiveRelation(model="lists")}, neighbours)
    assert data(served, SIMILAR) == live
    assert asked == [("lists", {item["id"] for item in live["items"]})]


def test_a_label_is_answered_as_the_configuration_says_of_it(served: World) -> None:
    load(served, ("same", "p1", "p2", 1, '{"why":"author"}'), ("other", "p1", "p4", 1, None))
    configure(served, {"alike": StoredRelation(edges="same"), "close": LiveRelation(model="vectors")})
    found = data(
        served,
        '{ item(id: "p1") { a: related(label: "alike") { id properties } b: related(label: "other") { id } '
        'c: related(label: "close", limit: 1) { item { id } } d: related(label: "none") { id } } }',
    )["item"]
    closest = served.client.get("/v1/items/p1/similar?limit=1").json()["items"][0]["id"]
    assert found == {
        "a": [{"id": "p2", "properties": {"why": "author"}}],
        "b": [{"id": "p4"}],
        "c": [{"item": {"id": closest}}],
        "d": [],
    }
    assert "`similar`" in faults(served, SIMILAR)[0]


def test_vertices_and_their_edges(served: World) -> None:
    with write_transaction(served.engine) as transaction:
        rows = [
            {"kind": "film-maker", "vertex_id": f"m{n}", "properties": f'{{"born":{n}}}'} for n in range(3)
        ]
        upsert(transaction, vertices, rows)
    load(served, *(("made", "m1", f"p{n}", n, None) for n in range(5)), ("taught", "m1", "m2", 1, None))
    found = data(
        served,
        '{ vertex(kind: "film-maker", id: "m1") { kind id properties related(label: "made", limit: 2) '
        '{ score item { id } vertex(kind: "film-maker") { id } } taught: related(label: "taught") '
        '{ item { id } vertex(kind: "film-maker") { properties related(label: "made") { id } } } } }',
    )["vertex"]
    assert found["properties"] == {"born": 1}
    assert [each["item"]["id"] for each in found["related"]] == ["p4", "p3"]
    assert found["taught"] == [{"item": None, "vertex": {"properties": {"born": 2}, "related": []}}]


@dataclass
class Asked:
    statements: int = 0
    searches: int = 0
    fetches: int = 0


@contextmanager
def counted(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    asked = Asked()
    search, fetch = world.store.search, world.store.fetch

    def count_search(*given: Any) -> Any:
        asked.searches += 1
        return search(*given)

    def count_fetch(*given: Any) -> Any:
        asked.fetches += 1
        return fetch(*given)

    def count_statement(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.statements += not statement.startswith(("BEGIN", "SET ", "START "))

    event.listen(world.engine, "before_cursor_execute", count_statement)
    with monkeypatch.context() as patched:
        patched.setattr(world.store, "search", count_search)
        patched.setattr(world.store, "fetch", count_fetch)
        yield asked
    event.remove(world.engine, "before_cursor_execute", count_statement)


NESTED = """query($n: Int!) {
  reader(id: "u1") { readings(limit: $n) { item {
    community { items(limit: $n) { id } members(limit: $n) { readings(limit: $n) { item { id } } } }
    readers(limit: $n) { reader { communities(limit: $n) { id } } }
    related(label: "next", limit: $n) { item { id } vertex(kind: "any") { id } }
    similar(limit: $n) { item { title similar(limit: 2) { id } } }
} } } }"""


def test_statements_are_bounded_by_depth_and_searches_by_posts(
    served: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in ("u1", "u2", "u3", "u4"):
        read(served, user, *(f"p{n}" for n in range(8)))
        served.client.put(f"/v1/users/{user}/communities/c0")
    load(served, *(("next", f"p{n}", f"p{n + 1}", 1.0, None) for n in range(10)))
    told: dict[int, Asked] = {}

    async def one_by_one(work: Callable[[], Any]) -> Any:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(work).result()

    # Beside each other, it depends on their pace which branches of the query find posts already loaded.
    monkeypatch.setattr("nearfeed_recommender.graphql.loaders.in_thread", one_by_one)
    for n in (2, 4, 6):
        with counted(served, monkeypatch) as asked:
            data(served, NESTED, n=n)
        told[n] = asked
    # Rows do not count. A level has a second question where some of its posts were loaded before.
    for n, asked in told.items():
        assert asked.statements <= 22
        assert asked.fetches <= 3
        # The first level asks once a post that was read, the second once a post that is similar to one.
        assert n < asked.searches <= n + n * n
    assert told[4].statements == told[6].statements
    assert told[4].fetches == told[6].fetches


def test_a_vector_store_that_is_down_fails_the_relation_alone(
    served: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any) -> Any:
        raise StoreUnavailableError("the vector store is down.")

    monkeypatch.setattr(served.store, "fetch", down)
    answer = ask(served, "{ items(limit: 2) { title similar { id } } }")
    assert [item["similar"] for item in answer["data"]["items"]] == [None, None]
    assert {error["message"] for error in answer["errors"]} == {"the vector store is down."}
    assert answer["errors"][0]["path"] == ["items", 0, "similar"]


def test_a_model_that_is_down_leaves_the_relations_beside_it(
    served: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any) -> Any:
        raise StoreUnavailableError("the vector store is down.")

    load(served, ("made", "p1", "p2", 1, None))
    configure(served, {"similar": LiveRelation(model="vectors")}, down)
    beside = 'related(label: "made") { id } none: related(label: "none") { id }'
    query = f'{{ item(id: "p1") {{ similar {{ id }} {beside} }} }}'
    answer = ask(served, query)
    assert answer["data"] == {"item": {"similar": None, "related": [{"id": "p2"}], "none": []}}
    (error,) = answer["errors"]
    assert (error["message"], error["path"]) == ("the vector store is down.", ["item", "similar"])

    def gone(*_: Any) -> Any:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr("nearfeed_recommender.graphql.relations.rows_of_each", gone)
    told = {(*error["path"], error["message"]) for error in ask(served, query)["errors"]}
    assert ("item", "related", "The database does not answer; try again.") in told
    assert ("item", "similar", "the vector store is down.") in told


def test_an_unexpected_error_is_not_told(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("a secret")

    configure(served, {"similar": LiveRelation(model="vectors")}, broken)
    assert faults(served, '{ item(id: "p1") { similar { id } } }') == [
        "An unexpected error; it has been logged."
    ]


def test_a_database_that_is_down(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any) -> Any:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr("nearfeed_recommender.graphql.loaders.found_posts", down)
    assert faults(served, "{ items { id } }") == ["The database does not answer; try again."]


REFUSED = [
    ("{ items(limit: 0) { id } }", "limit: must be from 1 to 100, and is 0 at items"),
    ("{ items(limit: 101) { id } }", "limit: must be from 1 to 100, and is 101 at items"),
    ("{ items { similar(limit: -1) { id } } }", "limit: must be from 1 to 100, and is -1 at similar"),
    ("query($n: Int = 101) { items(limit: $n) { id } }", "limit: must be from 1 to 100, and is 101"),
    ('{ items(search: "year: 1995") { id } }', "search: there is no field 'year'"),
    ('{ items(search: "toy AND)") { id } }', "search: ')' is not expected, at character 8"),
    ('{ items(limit: "many") { id } }', "Int cannot represent non-integer value"),
    (
        '{ reader(id: "u") { readings(kinds: [STARE]) { at } } }',
        "'STARE' does not exist in 'InteractionKind'",
    ),
    ("{ items { nothing } }", "Cannot query field 'nothing' on type 'Item'"),
    ("{ items { id }", "Syntax Error"),
    ("{ items(limit: 100) { similar(limit: 100) { id } } }", "may cost 11,100; 5,000 is allowed"),
    ("{ items(limit: 60) { ...A } } fragment A on Item { similar(limit: 90) { id } }", "may cost 6,060"),
    ("{ items(limit: 60) { ... on Item { similar(limit: 90) { id } } } }", "may cost 6,060"),
    (
        "{ " + "".join(f'a{n}: items(search: "p{n}", limit: 1) {{ id }} ' for n in range(10)) + "}",
        "may cost 5,010",
    ),
    (
        'query($s: String = "p") { items(search: $s, limit: 100) { similar(limit: 35) { id } } }',
        "may cost 5,100",
    ),
    ("{" + "communities { items {" * 8 + "id" + "} }" * 8 + "}", "depth"),
    ("{" + " ".join(f"a{n}: items {{ id }}" for n in range(MAX_ALIASES + 1)) + "}", "21 aliases"),
    ("{" + "items { id } " * 400 + "}", "Document contains more than 1000 tokens"),
    (
        "{ ...F0 } "
        + " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(20))
        + " fragment F20 on Query { items { id } }",
        "The query uses fragments 41 times; 25 times are allowed.",
    ),
    ("{ ...F } fragment F on Query { items { id } ...F }", "Cannot spread fragment 'F' within itself"),
]


def test_what_is_refused_names_the_fault(served: World) -> None:
    for query, fault in REFUSED:
        found = faults(served, query)
        assert any(fault in message for message in found), (query, found)


def test_a_limit_by_a_variable_counts(served: World) -> None:
    query = "query($n: Int!) { items(limit: $n) { similar(limit: $n) { id } } }"
    assert len(data(served, query, n=20)["items"]) == 20
    assert "may cost 9,090" in faults(served, query, n=90)[0]
    assert faults(served, query, n=1000)[0].startswith("limit: must be from 1 to 100")
    error = ask(served, query, n=1000)["errors"][0]
    assert error["extensions"] == {"argument": "limit"}
    assert MAX_COST == 5_000
    assert MAX_DEPTH == 12


def test_back_ends_are_waited_for_in_few_threads() -> None:
    lock, gate = threading.Lock(), threading.Event()
    running = 0
    most = 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        assert gate.wait(10)
        with lock:
            running -= 1

    async def ask_often() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(3 * THREADS):
                tasks.start_soon(in_thread, work)
            while running < THREADS:
                await anyio.sleep(0.001)
            # The feed's threads are others.
            await anyio.to_thread.run_sync(gate.set)

    for _ in range(2):  # each event loop has a limiter
        gate.clear()
        anyio.run(ask_often)
    assert most == THREADS


def test_requests_that_are_no_query(served: World) -> None:
    for body, fault in [
        ({}, "query: Field required"),
        ({"query": "{ items { id } }", "variables": []}, "variables: "),
        ({"query": "mutation { x }"}, "query: must be a query"),
        ({"query": "query A { items { id } }", "operationName": "B"}, "operationName: must name one"),
    ]:
        answer = served.client.post("/graphql", json=body)
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(fault)
    assert served.client.get("/graphql").status_code == 405


def test_tools_can_read_the_schema(served: World) -> None:
    from graphql import get_introspection_query

    types = data(served, get_introspection_query())["__schema"]["types"]
    assert {"Reader", "Item", "Community", "Vertex", "Related", "Reading"} <= {each["name"] for each in types}


def test_lists_of_readers_need_an_admin(served: World) -> None:
    read(served, "u1", "p1")
    settings = served.settings.model_copy(
        update={"api_keys": {"f": ["feed"], "a": ["feed", "admin"], "i": ["items"]}}
    )
    served.service.app.state.context = replace(context_of(served), settings=settings)
    query = '{ item(id: "p1") { title readers { reader { id } } } community(id: "c1") { members { id } } }'

    def answer(key: str | None) -> Any:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return TestClient(served.service.app).post("/graphql", json={"query": query}, headers=headers)

    assert answer(None).status_code == 401
    assert answer("i").status_code == 403
    refused = answer("f").json()
    assert refused["data"] == {"item": {"title": "Post p1", "readers": None}, "community": {"members": None}}
    assert sorted(error["message"].split(":")[0] for error in refused["errors"]) == ["members", "readers"]
    assert answer("a").json()["data"]["item"]["readers"] == [{"reader": {"id": "u1"}}]
