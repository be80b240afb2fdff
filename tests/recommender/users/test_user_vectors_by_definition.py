"""A user's vector from the state in memory is the one that the consumer computes and stores."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.recommender.users.audiences import empty_state, interactions

from nearfeed_contracts.events import Interaction
from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.runs import Block
from nearfeed_contracts.topics import record_of
from nearfeed_core.pooling import pool_reader
from nearfeed_core.readings import Reading, WeightRule, weights_of
from nearfeed_recommender.catalog.columns import Columns
from nearfeed_recommender.catalog.embeddings import Embedded
from nearfeed_recommender.users.profiles import Pooling, load_profile
from nearfeed_recommender.users.query_vectors import UserVectors
from nearfeed_recommender.users.state import UserState
from nearfeed_recommender.users.user_vectors import live_spaces, stored_vector
from nearfeed_runtime.sql import read_connection

START = 1_790_000_000_000_000
POOLINGS = ("mean", "sum", "ridge")
IDS = [f"p{number}" for number in range(8)]
WITHOUT = ("p6", "p7")
users = itertools.count()
bounded = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def vectors_of(world: Any) -> UserVectors:
    return UserVectors(world.engine, world.answers.embeddings)


@pytest.fixture
def spaces(world: Any, random_vector: Any) -> Any:
    """A space of each kind of pooling, in which two posts have no embedding."""
    for item_id in IDS:
        world.put_post(item_id)
    for number, pooling in enumerate(POOLINGS):
        world.add_space(pooling, pooling=pooling, active=number == 0)
        for place, item_id in enumerate(IDS):
            if item_id not in WITHOUT:
                world.set_vector(pooling, item_id, random_vector(10 * number + place))
        world.set_loaded(pooling)
    world.settle()
    return world


def tell(world: Any, events: Sequence[Interaction], *, accept: bool) -> None:
    world.log.append([record_of(event) for event in events])
    if accept:
        world.answers.states.accept(events)


def state_of(world: Any, user_id: str) -> UserState:
    return world.answers.feed.hydrator.query(user_id).state  # type: ignore[no-any-return]


def consumed(world: Any, user_id: str) -> Mapping[str, np.ndarray | None]:
    """By space what the consumer computes from the rows; what it stored is the same."""
    pooling = Pooling(WeightRule(), world.answers.embeddings)
    with read_connection(world.engine) as connection:
        found = {
            space: load_profile(connection, pooling, space, user_id).vector(blocks)
            for space, blocks in live_spaces(connection).items()
        }
        for space, vector in found.items():
            stored = stored_vector(connection, space, user_id)
            assert (stored is None) == (vector is None)
            assert vector is None or stored == pytest.approx(vector, abs=1e-6)
    return found


def assert_equal(state: UserState, vectors: UserVectors, expected: Mapping[str, np.ndarray | None]) -> None:
    for space, vector in expected.items():
        found = vectors.of(state, space)
        assert (found is None) == (vector is None)
        assert vector is None or found == pytest.approx(vector, rel=1e-5, abs=1e-6)


@bounded
@given(
    told=st.lists(interactions(IDS), min_size=1, max_size=10),
    later=st.lists(interactions(IDS), max_size=4),
    hidden=st.sampled_from([None, *IDS[:3]]),
)
def test_a_vector_is_that_of_the_consumer(
    spaces: Any, told: list[Interaction], later: list[Interaction], hidden: str | None
) -> None:
    """Of a state that was read, of the same without what SQL keeps, and of one with events laid over it."""
    user_id = f"u{next(users)}"
    told, later = ([each.model_copy(update={"user_id": user_id}) for each in some] for some in (told, later))
    tell(spaces, told, accept=False)
    if hidden:
        assert spaces.client.put(f"/v1/users/{user_id}/controls/hide/{hidden}").status_code == 204
    spaces.settle()
    state, expected = state_of(spaces, user_id), consumed(spaces, user_id)
    assert_equal(state, vectors_of(spaces), expected)
    assert_equal(replace(state, vectors={}), vectors_of(spaces), expected)
    tell(spaces, later, accept=True)
    overlaid = state_of(spaces, user_id)
    found = {space: vectors_of(spaces).of(overlaid, space) for space in POOLINGS}
    spaces.settle()
    assert_equal(state_of(spaces, user_id), vectors_of(spaces), consumed(spaces, user_id))
    assert_equal(overlaid, vectors_of(spaces), consumed(spaces, user_id))
    for space, vector in found.items():
        assert overlaid.vectors.get(space) is vector


class SomeEmbedded:
    """Embeddings of posts whose number is not a multiple of something."""

    def __init__(self, columns: Columns, without: int) -> None:
        self._columns, self._without = columns, without
        self.asked: list[int] = []

    def has(self, item_id: str) -> bool:
        return int(item_id[1:]) % self._without > 0

    def embedding(self, item_id: str) -> np.ndarray:
        return np.random.default_rng(int(item_id[1:])).normal(size=4).astype(np.float32)

    def of(self, _space: str, rows: np.ndarray) -> Embedded:
        self.asked.append(len(rows))
        ids = [self._columns.ids[row] for row in rows.tolist()]
        known = np.array([self.has(item_id) for item_id in ids], np.bool_)
        vectors = [self.embedding(item_id) for item_id in ids if self.has(item_id)]
        matrix = np.stack(vectors) if vectors else np.empty((0, 0), np.float32)
        return Embedded(matrix, known, np.ones(len(vectors), np.float32))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(
    ("count", "without"), [(100, 3), (700, 1_000), (1_500, 3), (3_000, 1), (4_000, 2), (600, 2)]
)
def test_the_newest_512_with_an_embedding_count(
    count: int, without: int, pooling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of posts that were read in the order of their numbers; `without` 1: none has an embedding."""
    columns = Columns()
    embeddings = SomeEmbedded(columns, without)
    day = 86_400_000_000
    reads = [
        Interaction(user_id="u", item_id=f"p{n}", kind="read", occurred_at=from_micros(START + n * day // 50))
        for n in range(count)
    ]
    state = empty_state(columns).with_events(reads)
    blocks = (Block(start=0, dim=2, pooling=pooling), Block(start=2, dim=2, pooling="sum", scale=0.5))
    vectors = UserVectors(None, embeddings)  # type: ignore[arg-type]
    monkeypatch.setattr(vectors, "_blocks_of", lambda _: blocks)
    newest = [n for n in reversed(range(count)) if embeddings.has(f"p{n}")][:512]
    found = vectors.of(state, "s")
    if not newest:
        assert found is None
        return
    weights = weights_of([Reading({"read": START + n * day // 50}) for n in newest], WeightRule())
    contexts = np.stack([embeddings.embedding(f"p{n}") for n in newest])
    expected = pool_reader(contexts, weights, blocks)
    assert found == pytest.approx(expected.astype(np.float32), rel=1e-5, abs=1e-6)
    assert found is not None
    assert found.dtype == np.float32


def test_of_many_interactions_most_of_which_have_no_embedding(world: Any, random_vector: Any) -> None:
    """The consumer and the state in memory look as far back as the 512th that has one."""
    posts = [f"p{number}" for number in range(3)]
    for item_id in posts:
        world.put_post(item_id)
    world.add_space("s1", pooling="ridge")
    for number, item_id in enumerate(posts):
        world.set_vector("s1", item_id, random_vector(number))
    world.set_loaded("s1")
    reads = [
        Interaction(
            user_id="u",
            item_id=posts[n] if n < 3 else f"unknown{n}",
            kind="read",
            occurred_at=from_micros(START + n * 60_000_000),
        )
        for n in range(2_700)
    ]
    tell(world, reads, accept=False)
    world.settle()
    state = state_of(world, "u")
    assert len(state.rows) == 2_700
    contexts = np.stack([random_vector(number) for number in (2, 1, 0)])
    rows = [Reading({"read": START + n * 60_000_000}) for n in (2, 1, 0)]
    expected = pool_reader(contexts, weights_of(rows, WeightRule()), [Block(start=0, dim=4, pooling="ridge")])
    for each in (state, replace(state, vectors={})):
        assert vectors_of(world).of(each, "s1") == pytest.approx(expected, rel=1e-4)
    assert consumed(world, "u")["s1"] == pytest.approx(expected, rel=1e-4)
