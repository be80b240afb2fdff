"""The configuration over HTTP: read, changed as a whole and by entry, gone back on, refused by the field."""

from typing import Any

import orjson
import pytest
import yaml
from fastapi.testclient import TestClient

from nearfeed_recommender.app.bootstrap import bootstrap
from nearfeed_recommender.config.checks import default_config
from nearfeed_recommender.config.document import yaml_of
from nearfeed_recommender.config.schema import document_of

URL = "/v1/admin/config"
SAID = {"author": "Ann", "reason": "a test"}
PAGE = {"sections": [{"name": "s", "title": "S", "provider": "latest"}]}


@pytest.fixture
def document() -> dict[str, Any]:
    return document_of(default_config())


def problem_of(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["errors"][0]["field"] if answer.json()["errors"] else ""


def version_of(client: TestClient) -> int:
    return int(client.get(URL).json()["version"])


def test_what_is_read_can_be_written(world: Any, document: dict[str, Any]) -> None:
    first = world.client.get(URL)
    assert (first.headers["etag"], first.json()["version"], first.json()["applied_at"]) == ('"0"', 0, None)
    assert first.json()["document"] == document
    same = world.client.put(URL, params=SAID, json=document)
    assert (same.status_code, same.json()) == (200, {"version": 0, "changes": []})
    document["pages"]["top"] = PAGE
    headers = {"content-type": "application/yaml", "if-match": same.headers["etag"]}
    answer = world.client.put(URL, params=SAID, content=yaml_of(document), headers=headers)
    assert answer.json() == {"version": 1, "changes": [{"kind": "page", "name": "top", "change": "added"}]}
    found = world.client.get(URL).json()
    assert (found["author"], found["reason"], found["document"]) == ("Ann", "a test", document)
    assert world.client.get(f"{URL}/versions/1").json() == found
    assert world.service.operations["config.show"](version=1)
    assert world.client.app.state.context.configuration.live.current.version == 1


def test_history_and_the_way_back(world: Any, document: dict[str, Any]) -> None:
    for name in ("one", "two"):
        document["pages"][name] = PAGE
        assert world.client.put(URL, params=SAID, json=document).status_code == 200
    back = world.client.post(f"{URL}/rollback", json={"version": 1, "author": "Bob", "reason": "too much"})
    removed = [{"kind": "page", "name": "two", "change": "removed"}]
    assert back.json() == {"version": 3, "changes": removed}
    found = world.client.get(f"{URL}/history?limit=3").json()
    assert [each["version"] for each in found["versions"]] == [3, 2, 1]
    assert (found["versions"][0]["author"], found["versions"][0]["changes"]) == ("Bob", removed)
    rest = world.client.get(f"{URL}/history", params={"before": found["before"]}).json()
    assert [each["version"] for each in rest["versions"]] == [0]
    assert rest["before"] is None


def test_an_entry_and_its_versions(world: Any) -> None:
    url = "/v1/admin/pages/a/b"
    assert problem_of(world.client.get(url)) == (404, "")
    assert problem_of(world.client.get(f"{url}/versions")) == (404, "")
    assert world.client.put(url, params=SAID, json=PAGE).json()["version"] == 1
    found = world.client.get(url)
    assert (found.headers["etag"], found.json()) == ('"1"', {"name": "a/b", "version": 1, "document": PAGE})
    assert world.client.delete(url, params=SAID).json()["changes"] == [
        {"kind": "page", "name": "a/b", "change": "removed"}
    ]
    assert problem_of(world.client.delete(url, params=SAID)) == (404, "")
    past = world.client.get(f"{url}/versions").json()["versions"]
    assert [(each["version"], each["document"]) for each in past] == [(2, None), (1, PAGE)]
    provider = world.client.get("/v1/admin/providers/popular/versions").json()["versions"]
    assert [(each["version"], each["author"]) for each in provider] == [(1, "Ann"), (0, "nearfeed")]


@pytest.mark.parametrize("section", ["pages", "providers", "models", "relations"])
def test_each_kind_of_entry_is_read_and_written(world: Any, section: str, document: dict[str, Any]) -> None:
    name, body = next(iter(document[section].items()))
    assert world.client.get(f"/v1/admin/{section}/{name}").json()["document"] == body
    text = yaml.safe_dump(body)
    headers = {"content-type": "application/yaml"}
    answer = world.client.put(f"/v1/admin/{section}/other", params=SAID, content=text, headers=headers)
    assert answer.json()["changes"] == [{"kind": section[:-1], "name": "other", "change": "added"}]


def test_every_fault_is_told_by_its_field(world: Any, document: dict[str, Any]) -> None:
    document["feed"] = "nowhere"
    document["providers"]["latest"]["filters"] = ["seen", "sean"]
    answer = world.client.put(URL, params=SAID, json=document)
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == ["providers.latest.filters[1]", "feed"]
    in_yaml = yaml_of(document)
    headers = {"content-type": "application/yaml"}
    told = world.client.put(URL, params=SAID, content=in_yaml, headers=headers).json()["errors"]
    line = in_yaml.splitlines().index("    - sean") + 1
    assert told[1]["message"].endswith(f"(line {line})")
    entry = "sections:\n- name: s\n  title: S\n  provider: nowhere\n"
    told = world.client.put("/v1/admin/pages/p", params=SAID, content=entry, headers=headers).json()["errors"]
    assert told[0]["field"] == "pages.p.sections[0].provider"
    assert told[0]["message"].endswith("(line 4)")
    assert version_of(world.client) == 0


def test_an_entry_that_another_names_stays(world: Any) -> None:
    answer = world.client.delete("/v1/admin/providers/popular", params=SAID)
    assert problem_of(answer) == (422, "pages.home.sections[2].provider")
    model = world.client.delete("/v1/admin/models/vectors", params=SAID)
    assert {fault["field"] for fault in model.json()["errors"]} == {
        "providers.personal.sources.personal.model",
        "providers.personal.sources.new.model",
        "providers.similar-to-last-read.sources.similar.model",
        "relations.similar.model",
    }
    assert version_of(world.client) == 0


@pytest.mark.parametrize("url", [URL, "/v1/admin/pages/p"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"params": {"reason": "r"}}, (422, "author")),
        ({"params": {"author": "a"}}, (422, "reason")),
        ({"params": {"author": "a", "reason": "  "}}, (422, "reason")),
        ({"params": {"author": "a" * 129, "reason": "r"}}, (422, "author")),
        ({"headers": {"if-match": "3"}}, (422, "If-Match")),
        ({"headers": {"if-match": '"7"'}}, (412, "")),
        ({"content": b"{"}, (422, "body")),
        ({"content": b"\xff"}, (422, "body")),
        ({"content": b""}, (422, "body")),
        ({"content": b'{"feed": "a", "feed": "b"}'}, (422, "feed")),
    ],
)
def test_a_bad_change_names_its_field(world: Any, url: str, change: Any, expected: Any) -> None:
    good = document_of(default_config()) if url == URL else PAGE
    call = {"params": SAID, "content": orjson.dumps(good), **change}
    assert problem_of(world.client.put(url, **call)) == expected
    assert version_of(world.client) == 0


@pytest.mark.parametrize("content", [b"null", b"[]", b"7", b'"text"'])
def test_a_body_that_is_no_object_is_told_by_its_place(world: Any, content: bytes) -> None:
    for url, field in ((URL, "body"), ("/v1/admin/pages/home", "pages.home")):
        assert problem_of(world.client.put(url, params=SAID, content=content)) == (422, field)
    assert version_of(world.client) == 0


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", f"{URL}/versions/5", (404, "")),
        ("GET", f"{URL}/versions/-1", (422, "version")),
        ("GET", f"{URL}/history?limit=0", (422, "limit")),
        ("POST", f"{URL}/rollback", (422, "body")),
        ("GET", "/v1/admin/pages/a%20b", (422, "name")),
        ("GET", "/v1/admin/dreams/a", (404, "")),
    ],
)
def test_a_bad_call_is_a_problem(world: Any, method: str, path: str, expected: Any) -> None:
    assert problem_of(world.client.request(method, path)) == expected


def test_a_document_that_is_too_large_gets_413(world: Any) -> None:
    assert world.client.put(URL, params=SAID, content=b"x" * 3_000_000).status_code == 413


def test_any_version_may_be_overwritten_on_purpose(world: Any) -> None:
    headers = {"if-match": "*"}
    assert world.client.put("/v1/admin/pages/p", params=SAID, json=PAGE, headers=headers).status_code == 200


def test_a_key_needs_the_scope_admin(world: Any) -> None:
    settings = world.settings.model_copy(update={"api_keys": {"app": ["feed", "items"], "root": ["admin"]}})
    service = bootstrap(settings, engine=world.engine, log=world.log, store=world.store)
    client = TestClient(service.app)
    for path in ("", "/history", "/versions/0"):
        assert client.get(URL + path).status_code == 401
        assert client.get(URL + path, headers={"X-API-Key": "app"}).status_code == 403
        assert client.get(URL + path, headers={"X-API-Key": "root"}).status_code == 200
    page = "/v1/admin/pages/p"
    assert client.put(page, params=SAID, json=PAGE, headers={"X-API-Key": "app"}).status_code == 403
    assert client.delete(page, params=SAID, headers={"X-API-Key": "app"}).status_code == 403
    assert client.put(page, params=SAID, json=PAGE, headers={"X-API-Key": "root"}).status_code == 200
    service.close()


def test_a_change_made_by_another_process_is_served_after_a_look(world: Any) -> None:
    other = bootstrap(world.settings, engine=world.engine, log=world.log, store=world.store)
    world.client.put("/v1/admin/pages/p", params=SAID, json=PAGE)
    live = other.app.state.context.configuration.live
    assert "p" not in live.current.config.pages
    live.refresh()
    assert "p" in live.current.config.pages
    assert "config" in [loop.name for loop in other.api_loops]
    other.close()
