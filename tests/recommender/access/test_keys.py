"""Keys of SQL: made, found by their text alone, rotated without a gap, revoked, and told to every process."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from nearfeed_contracts.errors import ConflictError, NotFoundError
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import api_keys
from nearfeed_recommender.access.keys.changing import create_key, revoke_keys, rotate_key
from nearfeed_recommender.access.keys.live import LiveKeys, Snapshot, find_key
from nearfeed_recommender.access.keys.rows import (
    Key,
    WantedKey,
    has_live_keys,
    keys_where,
    mint_key,
    split_key,
)
from nearfeed_runtime.auditing import audited
from nearfeed_runtime.operations import Listed, Said
from nearfeed_runtime.sql import read_connection

URL = "/v1/admin/keys"
HOUR = 3_600_000_000


def wanted(name: str = "app", *scopes: str, **others: Any) -> WantedKey:
    return WantedKey.model_validate({"name": name, "scopes": list(scopes) or ["feed"], **others})


def key_of(minted: Any, **values: Any) -> Key:
    row = {"name": "app", "scopes": frozenset({"feed"}), "per_minute": None, "created_at": 0}
    ends = {"expires_at": None, "revoked_at": None}
    return Key(key_id=minted.key_id, key_hash=minted.key_hash, **{**row, **ends, **values})


def status_with(world: Any, text: str, url: str = "/v1/feed?user_id=u") -> int:
    return int(world.client.get(url, headers={"authorization": f"Bearer {text}"}).status_code)


@given(st.integers(0, 90), st.characters(codec="utf-8"))
def test_no_other_text_is_taken_for_a_key(place: int, character: str) -> None:
    minted = mint_key()
    snapshot = Snapshot(True, {minted.key_id: key_of(minted)})
    assert find_key(snapshot, minted.text)
    for other in (
        minted.text[:place] + character + minted.text[place + 1 :],
        minted.text[:place] + character + minted.text[place:],
        minted.text[:place],
    ):
        assert other == minted.text or find_key(snapshot, other) is None


def test_minted_keys_are_long_and_never_the_same() -> None:
    minted = [mint_key() for _ in range(200)]
    assert len({each.key_id for each in minted}) == len({each.key_hash for each in minted}) == 200
    parts = split_key(minted[0].text)
    assert parts is not None
    assert len(bytes.fromhex(parts[1])) == 32
    assert hashlib.sha256(parts[1].encode()).hexdigest() == minted[0].key_hash


def test_a_key_expires_by_the_clock_without_a_look_into_sql() -> None:
    minted, now = mint_key(), now_micros()
    for expires_at, holds in ((now - 1, False), (now + HOUR, True), (None, True)):
        snapshot = Snapshot(True, {minted.key_id: key_of(minted, expires_at=expires_at)})
        assert (find_key(snapshot, minted.text) is not None) == holds


def test_sql_and_audit_hold_no_secret(world: Any) -> None:
    new = create_key(world.engine, wanted(), "Ann")
    rotated = rotate_key(world.engine, "app", HOUR, "Ann")
    with read_connection(world.engine) as connection:
        kept = str(connection.execute(select(api_keys)).all()) + str(audited(connection, None, 10))
    for text in (new.text, rotated.new.text):
        parts = split_key(text)
        assert parts is not None
        assert parts[0] in kept
        assert parts[1] not in kept


def test_the_first_key_closes_what_was_open_and_nothing_opens_it_again(world: Any) -> None:
    assert world.client.get("/v1/feed?user_id=u").status_code == 200
    new = create_key(world.engine, wanted(), "Ann")
    world.client.app.state.context.access.keys.refresh()
    answer = world.client.get("/v1/feed?user_id=u")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert status_with(world, new.text) == 200
    assert status_with(world, new.text, URL) == 403
    revoke_keys(world.engine, new.key.key_id, "Ann")
    world.client.app.state.context.access.keys.refresh()
    assert status_with(world, new.text) == 401
    assert world.client.get("/v1/feed?user_id=u").status_code == 401


def test_keys_of_the_settings_hold_beside_those_of_sql(world: Any) -> None:
    world.settings.api_keys = {"from the settings": ["admin"]}
    new = create_key(world.engine, wanted(), "Ann")
    world.client.app.state.context.access.keys.refresh()
    assert status_with(world, "from the settings", URL) == 200
    assert status_with(world, new.text) == 200


def test_rotation_leaves_no_moment_without_a_key(world: Any) -> None:
    keys = LiveKeys(world.engine)
    old = create_key(world.engine, wanted("app", "feed", "events", per_minute=7), "Ann")
    new, ending = rotate_key(world.engine, "app", HOUR, "Ann")
    keys.refresh()
    for text in (old.text, new.text):
        found = find_key(keys.current, text)
        assert found is not None
        assert (found.name, found.scopes, found.per_minute) == ("app", {"feed", "events"}, 7)
    assert ending.expires_at is not None
    assert ending.expires_at <= now_micros() + HOUR
    # Rotated once more at once: the newest is replaced, and the first one keeps its end.
    third, second = rotate_key(world.engine, "app", 0, "Ann")
    keys.refresh()
    assert second.key_id == new.key.key_id
    assert find_key(keys.current, old.text)
    assert find_key(keys.current, new.text) is None
    assert find_key(keys.current, third.text)


def test_a_rotated_key_lives_as_long_as_the_old_one_was_to_live(world: Any) -> None:
    ends = "2999-01-01T00:00:00Z"
    old = create_key(world.engine, wanted(expires_at=ends), "Ann").key
    new = rotate_key(world.engine, old.key_id, 10**18, "Ann")
    assert old.expires_at is not None
    assert new.new.key.expires_at == new.new.key.created_at + old.expires_at - old.created_at
    assert new.old.expires_at == old.expires_at


def test_a_name_has_one_live_key(world: Any) -> None:
    create_key(world.engine, wanted(), "Ann")
    with pytest.raises(ConflictError, match="'app' is live"):
        create_key(world.engine, wanted(), "Ann")
    assert [key.name for key in revoke_keys(world.engine, "app", "Ann")] == ["app"]
    assert revoke_keys(world.engine, "app", "Ann") == []
    with pytest.raises(ConflictError, match="revoked or has expired"):
        rotate_key(world.engine, "app", HOUR, "Ann")
    create_key(world.engine, wanted(), "Ann")
    with pytest.raises(NotFoundError, match="no key 'other'"):
        revoke_keys(world.engine, "other", "Ann")


def test_only_keys_that_hold_let_a_public_bind_be(world: Any) -> None:
    def holds() -> bool:
        with read_connection(world.engine) as connection:
            return has_live_keys(connection)

    assert not holds()
    create_key(world.engine, wanted(), "Ann")
    assert holds()
    revoke_keys(world.engine, "app", "Ann")
    assert not holds()


def test_keys_over_http(world: Any) -> None:
    world.settings.api_keys = {"boss": ["admin"]}
    world.client.headers["x-api-key"] = "boss"
    made = world.client.post(URL, json={"name": "app", "scopes": ["events", "feed", "feed"]})
    assert made.status_code == 201, made.text
    assert made.json()["scopes"] == ["events", "feed"]
    assert status_with(world, made.json()["key"]) == 200
    turned = world.client.post(f"{URL}/{made.json()['key_id']}/rotate", json={"grace_hours": 1})
    assert turned.status_code == 201, turned.text
    assert turned.json()["replaces"]["key_id"] == made.json()["key_id"]
    assert status_with(world, turned.json()["key"]) == 200
    assert world.client.delete(f"{URL}/{made.json()['key_id']}").status_code == 204
    assert status_with(world, made.json()["key"]) == 401
    listed = world.client.get(URL).json()["keys"]
    assert [(key["name"], key["state"]) for key in listed] == [("app", "revoked"), ("app", "live")]
    assert not any("key_hash" in key or "key" in key for key in listed)
    changes = world.client.get("/v1/admin/audit").json()["changes"]
    assert [(each["actor"], each["action"]) for each in changes] == [
        ("key:environment-1", "keys.revoke"),
        ("key:environment-1", "keys.rotate"),
        ("key:environment-1", "keys.create"),
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "an app", "scopes": ["feed"]}, "name"),
        ({"name": "app", "scopes": []}, "scopes"),
        ({"name": "app", "scopes": ["feeds"]}, "scopes.0"),
        ({"name": "app", "scopes": ["feed"], "per_minute": 0}, "per_minute"),
        ({"name": "app", "scopes": ["feed"], "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "app", "scopes": ["feed"], "secret": "mine"}, "secret"),
    ],
)
def test_what_is_no_key_is_told_by_its_field(world: Any, body: dict[str, Any], field: str) -> None:
    answer = world.client.post(URL, json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


def test_commands_make_list_rotate_and_revoke(world: Any) -> None:
    run = world.service.operations
    told = list(run["keys.create"](name="app", scopes=["feed"], actor="Ann", expires_days=30))
    text = told[-1].text
    assert status_with(world, text) == 200
    rotated = list(run["keys.rotate"](named="app", actor="Ann"))
    assert status_with(world, rotated[1].text) == 200
    (listed,) = run["keys.list"]()
    assert isinstance(listed, Listed)
    assert [row[1:5] for row in listed.rows] == [("app", "feed", "", "live")] * 2
    assert list(run["keys.revoke"](named="app", actor="Ann"))[-1] == Said(
        f"Key app ({rotated[1].text.split('_')[1]}) is revoked."
    )
    assert status_with(world, text) == 401
    with pytest.raises(Exception, match=r"The scopes\.0 of a key"):
        list(run["keys.create"](name="app", scopes=["feeds"], actor="Ann"))


def test_over_http_an_id_alone_names_a_key(world: Any) -> None:
    world.settings.api_keys = {"boss": ["admin"]}
    world.client.headers["x-api-key"] = "boss"
    made = world.client.post(URL, json={"name": "app", "scopes": ["feed"]}).json()
    assert world.client.delete(f"{URL}/app").status_code == 404
    assert world.client.post(f"{URL}/app/rotate", json={}).status_code == 404
    assert status_with(world, made["key"]) == 200


def test_rotations_at_once_come_one_after_the_other(world: Any) -> None:
    create_key(world.engine, wanted(), "Ann")
    together = threading.Barrier(4)

    def rotate(_: int) -> None:
        together.wait(30)
        rotate_key(world.engine, "app", 0, "Ann")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(rotate, range(4)))
    with read_connection(world.engine) as connection:
        states = [key.state(now_micros()) for key in keys_where(connection)]
    assert states.count("live") == 1
    assert len(states) == 5
