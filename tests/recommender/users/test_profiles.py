"""The profiles of many users at once, against their definition row by row."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from nearfeed_contracts.events import KINDS
from nearfeed_contracts.tables import interactions, item_contexts, reader_controls, reader_resets
from nearfeed_core.readings import Reading, WeightRule, weights_of
from nearfeed_recommender.catalog.columns import Columns
from nearfeed_recommender.catalog.embeddings import Embeddings
from nearfeed_recommender.users import profiles
from nearfeed_recommender.users.profiles import Pooling, load_profile, load_profiles
from nearfeed_runtime.changes import next_change
from nearfeed_runtime.sql import read_connection, upsert, write_transaction

BASE = 1_700_000_000_000_000
MOST = 4
USERS = [f"u{number}" for number in range(3)]
POSTS = [f"p{number:02}" for number in range(14)]
bounded = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
rows = st.dictionaries(
    st.tuples(st.sampled_from(USERS), st.sampled_from(POSTS)),
    st.builds(
        Reading,
        st.dictionaries(st.sampled_from(KINDS), st.integers(BASE, BASE + 6), min_size=1),
        st.sampled_from([None, 2.0, 4.0]),
    ),
    max_size=40,
)
resets = st.dictionaries(st.sampled_from(USERS), st.integers(BASE - 1, BASE + 4))
controls = st.sets(
    st.tuples(
        st.sampled_from(USERS), st.sampled_from(["hide", "less", "block", "mute"]), st.sampled_from(POSTS)
    ),
    max_size=8,
)


@pytest.fixture(autouse=True)
def _few_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "NEWEST_READINGS", MOST)
    monkeypatch.setattr(profiles, "_FIRST_LOOK", MOST + 1)


def put(world: Any, told: dict[tuple[str, str], Reading], reset: dict[str, int], set_: set[Any]) -> None:
    found = [
        {
            "user_id": user_id,
            "item_id": item_id,
            **{f"{kind}_at": row.times.get(kind) for kind in KINDS},
            "rating_value": row.rating,
            "newest_at": row.newest_at(),
        }
        for (user_id, item_id), row in told.items()
    ]
    with write_transaction(world.engine) as transaction:
        for table in (interactions, reader_resets, reader_controls):
            transaction.execute(delete(table))
        upsert(transaction, interactions, found)
        for user_id, at in reset.items():
            transaction.execute(
                insert(reader_resets).values(user_id=user_id, reset_at=at, controls_reset_at=0)
            )
        for user_id, control, target in set_:
            row = {"user_id": user_id, "control": control, "target": target, "set_at": 1}
            transaction.execute(insert(reader_controls).values(**row))


def set_context(world: Any, item_id: str, context: np.ndarray | None) -> None:
    """As the indexer does; None: the tombstone of a deleted post."""
    with write_transaction(world.engine) as transaction:
        row = {
            "space": "s1",
            "item_id": item_id,
            "version": 1,
            "context": None if context is None else context.astype("<f4").tobytes(),
            "inferred": False,
            "change_id": next_change(transaction, "contexts"),
        }
        upsert(transaction, item_contexts, [row])


def context_of(item_id: str) -> np.ndarray:
    return np.array([int(item_id[1:]), 1.0, 0.5], np.float32)


@pytest.fixture
def pooling(world: Any) -> Pooling:
    """The posts with an even number have a context; p02 had one."""
    world.add_space("s1")
    for item_id in POSTS[::2]:
        set_context(world, item_id, context_of(item_id))
    set_context(world, POSTS[2], None)
    return Pooling(WeightRule(), Embeddings(world.engine, Columns()))


def expected(
    told: dict[tuple[str, str], Reading], reset: int | None, unwanted: set[str], user_id: str
) -> dict[str, float]:
    """Ids with weights, by the definition."""
    embedded = set(POSTS[::2]) - {POSTS[2]} - unwanted
    counted: dict[str, Reading] = {}
    for (user, item_id), row in told.items():
        newest = row.newest_at()
        if user == user_id and item_id in embedded and newest is not None and newest > (reset or 0):
            counted[item_id] = row if reset is None else row.after(reset)
    kept = sorted(counted, key=lambda item_id: (-(counted[item_id].newest_at() or 0), item_id))[:MOST]
    return dict(zip(kept, weights_of([counted[item] for item in kept], WeightRule()), strict=True))


@bounded
@given(told=rows, reset=resets, set_=controls)
def test_profiles_are_their_definition(
    world: Any,
    pooling: Pooling,
    told: dict[tuple[str, str], Reading],
    reset: dict[str, int],
    set_: set[tuple[str, str, str]],
) -> None:
    put(world, told, reset, set_)
    with read_connection(world.engine) as connection:
        found = dict(load_profiles(connection, pooling, "s1", [*USERS, "nobody"]))
    assert found.keys() == {*USERS, "nobody"}
    for user_id, profile in found.items():
        unwanted = {
            target for user, control, target in set_ if user == user_id and control in ("hide", "less")
        }
        wanted = expected(told, reset.get(user_id), unwanted, user_id)
        assert profile.item_ids == list(wanted)
        assert profile.weights.tolist() == pytest.approx(list(wanted.values()), rel=1e-12)
        contexts = [context_of(item_id).tolist() for item_id in wanted]
        assert profile.contexts.tolist() == contexts


def test_many_users_are_read_whole(world: Any, pooling: Pooling) -> None:
    told = {(f"m{number:03}", POSTS[4]): Reading({"read": BASE + number}) for number in range(120)}
    put(world, told, {}, set())
    with read_connection(world.engine) as connection:
        found = dict(load_profiles(connection, pooling, "s1", [user_id for user_id, _ in told]))
    assert len(found) == 120
    assert all(profile.item_ids == [POSTS[4]] for profile in found.values())


def test_a_changed_context_holds_at_once(world: Any, pooling: Pooling) -> None:
    put(
        world,
        {("u0", POSTS[4]): Reading({"read": BASE}), ("u0", POSTS[5]): Reading({"read": BASE})},
        {},
        set(),
    )

    def contexts() -> dict[str, list[float]]:
        with read_connection(world.engine) as connection:
            profile = load_profile(connection, pooling, "s1", "u0")
        return dict(zip(profile.item_ids, profile.contexts.tolist(), strict=True))

    assert contexts() == {POSTS[4]: context_of(POSTS[4]).tolist()}
    set_context(world, POSTS[4], np.ones(3))
    set_context(world, POSTS[5], np.zeros(3))
    assert contexts() == {POSTS[4]: [1, 1, 1], POSTS[5]: [0, 0, 0]}
    set_context(world, POSTS[4], None)
    assert contexts() == {POSTS[5]: [0, 0, 0]}
