"""The audit: who has changed what, written with the change, told newest first."""

from typing import Any

import pytest
from sqlalchemy import Connection

from nearfeed_recommender.identity.erasures import hash_user
from nearfeed_runtime.auditing import list_audit, put_audit
from nearfeed_runtime.operations import Listed, Said
from nearfeed_runtime.sql import committed, write_transaction

URL = "/v1/admin/audit"
SAID = {"author": "Ann", "reason": "a test"}
PAGE = {"sections": [{"name": "s", "title": "S", "provider": "latest"}]}


def changes_of(client: Any, **asked: int) -> list[dict[str, Any]]:
    answer = client.get(URL, params=asked)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["changes"])


def put_some(world: Any, count: int) -> None:
    with write_transaction(world.engine) as transaction:
        for number in range(count):
            put_audit(transaction, "Ann", "things.change", f"thing {number}", {"number": number})


def test_changes_are_paged_newest_first(world: Any) -> None:
    put_some(world, 5)
    seen, before = [], None
    while True:
        asked = {"limit": 2} if before is None else {"limit": 2, "before": before}
        page = world.client.get(URL, params=asked).json()
        seen += [change["detail"]["number"] for change in page["changes"]]
        before = page["before"]
        if before is None:
            break
    assert seen == [4, 3, 2, 1, 0]


def test_a_change_that_is_rolled_back_leaves_nothing(world: Any) -> None:
    def fail(transaction: Connection) -> None:
        put_audit(transaction, "Ann", "things.change", "a thing", {})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        committed(world.engine, fail)
    assert changes_of(world.client) == []


def test_a_configuration_is_audited_once_by_the_key_that_changed_it(world: Any) -> None:
    world.settings.api_keys = {"first": ["feed"], "second": ["admin"]}
    world.client.headers["x-api-key"] = "second"
    for _ in range(2):
        answer = world.client.put("/v1/admin/pages/top", params=SAID, json=PAGE)
        assert answer.status_code == 200, answer.text
    change = changes_of(world.client)
    assert [(each["actor"], each["action"], each["target"]) for each in change] == [
        ("key:environment-2", "config.apply", "version 1")
    ]
    assert change[0]["detail"] == {
        **SAID,
        "changes": [{"kind": "page", "name": "top", "change": "added"}],
    }


def test_a_command_is_audited_by_its_author(world: Any) -> None:
    world.client.put("/v1/admin/pages/top", params=SAID, json=PAGE)
    list(world.service.operations["config.rollback"](version=0, author="Bob", reason="back"))
    assert [each["actor"] for each in changes_of(world.client)] == ["Bob", "anyone"]


def test_an_erasure_is_audited_without_the_readers_id(world: Any) -> None:
    assert world.client.delete("/v1/users/reader-1").status_code == 202
    (change,) = changes_of(world.client)
    assert (change["action"], change["detail"]) == ("users.erase", {"posts": "delete"})
    assert change["target"] == hash_user(b"a test's secret", "reader-1")


def test_the_command_lists_and_says_how_to_go_on(world: Any) -> None:
    put_some(world, 3)
    listed, said = list_audit(world.engine, limit=2)
    assert isinstance(listed, Listed)
    assert isinstance(said, Said)
    assert [row[4] for row in listed.rows] == ["thing 2", "thing 1"]
    (rest,) = list_audit(world.engine, limit=2, before=int(listed.rows[-1][0]))
    assert isinstance(rest, Listed)
    assert [row[4] for row in rest.rows] == ["thing 0"]
