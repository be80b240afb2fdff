"""Input embeddings in memory: those of SQL, whatever was let go of, changed or overwritten meanwhile."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, insert

from nearfeed_contracts.tables import item_contexts, spaces
from nearfeed_recommender.catalog.columns import Columns
from nearfeed_recommender.catalog.embeddings import CONTEXTS, Embeddings, last_change
from nearfeed_runtime.changes import next_change
from nearfeed_runtime.sql import read_connection, upsert, write_transaction

DIM = 2
SPACES = ("s1", "s2")
POSTS = [f"p{number}" for number in range(12)]
CHANGES = st.tuples(
    st.just("change"),
    st.sampled_from(SPACES),
    st.lists(
        st.tuples(st.sampled_from(POSTS), st.none() | st.integers(0, 9)),
        max_size=4,
        unique_by=lambda change: change[0],
    ),
)
LOOKS = st.tuples(
    st.just("look"), st.sampled_from(SPACES), st.lists(st.sampled_from(POSTS), unique=True, max_size=8)
)


def put(engine: Engine, space: str, vectors: dict[str, Sequence[float] | None]) -> None:
    """What the indexer writes of posts; None for one that is deleted."""
    if not vectors:
        return
    with write_transaction(engine) as transaction:
        first = next_change(transaction, CONTEXTS, len(vectors))
        rows = [
            {
                "space": space,
                "item_id": item,
                "version": 1,
                "context": None if vector is None else np.array(vector, "<f4").tobytes(),
                "inferred": False,
                "change_id": first + number,
            }
            for number, (item, vector) in enumerate(vectors.items())
        ]
        upsert(transaction, item_contexts, rows)


def look(embeddings: Embeddings, columns: Columns, space: str, ids: Sequence[str]) -> dict[str, list[float]]:
    found = embeddings.of(space, columns.reserve(ids))
    known = [item for item, is_known in zip(ids, found.known, strict=True) if is_known]
    lengths = np.linalg.norm(found.vectors, axis=1)
    assert found.lengths.tolist() == pytest.approx(np.where(lengths > 0, lengths, 1).tolist())
    return dict(zip(known, found.vectors.tolist(), strict=True))


class LetGo(str):
    """The name of a space that others push out as soon as it has been looked up once."""

    embeddings: Embeddings
    columns: Columns
    looked_up = 0

    def __hash__(self) -> int:
        self.looked_up += 1
        if self.looked_up == 1:
            for other in range(4):
                look(self.embeddings, self.columns, str(other), ["p1"])
        return super().__hash__()


def test_a_space_that_is_let_go_of_meanwhile_is_answered(world: Any) -> None:
    for space in ("0", "1", "2", "3", "9"):
        put(world.engine, space, {"p1": (float(space), float(space))})
    columns = Columns()
    embeddings = Embeddings(world.engine, columns)
    look(embeddings, columns, "9", ["p1"])
    name = LetGo("9")
    name.embeddings, name.columns = embeddings, columns
    assert look(embeddings, columns, name, ["p1"]) == {"p1": [9.0, 9.0]}


@pytest.mark.parametrize("most_bytes", [0, 4 * DIM * 1_024, 2**20])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(CHANGES | LOOKS, max_size=12), preload=st.booleans())
def test_a_look_shows_what_sql_has_at_the_change_that_was_followed(
    world: Any, most_bytes: int, steps: list[Any], preload: bool
) -> None:
    with write_transaction(world.engine) as transaction:
        transaction.execute(item_contexts.delete())
    columns = Columns()
    embeddings = Embeddings(world.engine, columns, most_bytes)
    stored: dict[str, dict[str, list[float]]] = {space: {} for space in SPACES}
    for step, space, asked in steps:
        if step == "change":
            vectors = {item: None if value is None else (float(value), 1.0) for item, value in asked}
            put(world.engine, space, vectors)
            stored[space] |= {item: list(vector) for item, vector in vectors.items() if vector is not None}
            for item in [item for item, vector in vectors.items() if vector is None]:
                stored[space].pop(item, None)
            with read_connection(world.engine) as connection:
                embeddings.follow(last_change(connection))
            if preload:
                embeddings.preload(space)
        else:
            assert look(embeddings, columns, space, asked) == {
                item: stored[space][item] for item in asked if item in stored[space]
            }


def test_more_posts_than_fit_are_answered_together_and_one_after_the_other(world: Any) -> None:
    ids = [f"q{number}" for number in range(3_000)]
    wanted = {item: [float(number), 1.0] for number, item in enumerate(ids)}
    for start in range(0, len(ids), 500):
        put(world.engine, "s1", {item: wanted[item] for item in ids[start : start + 500]})
    columns = Columns()
    embeddings = Embeddings(world.engine, columns, most_bytes=4 * DIM * 100)
    for some in (ids[:50], ids[1_000:2_500], ids[:50], ids, ids[::-7], ids[:50]):
        assert look(embeddings, columns, "s1", some) == {item: wanted[item] for item in some}


def test_a_post_without_an_embedding_is_looked_for_again_after_a_change(world: Any) -> None:
    columns = Columns()
    embeddings = Embeddings(world.engine, columns)
    assert look(embeddings, columns, "s1", []) == {}
    assert look(embeddings, columns, "s1", ["p1"]) == {}
    put(world.engine, "s1", {"p1": (3.0, 4.0)})
    with read_connection(world.engine) as connection:
        embeddings.follow(last_change(connection))
    assert look(embeddings, columns, "s1", ["p1"]) == {"p1": [3.0, 4.0]}


def test_a_space_that_is_loaded_again_has_its_new_embeddings(world: Any) -> None:
    """It is dropped and comes back under its name with other dimensions, and lacks a post that it had."""
    columns = Columns()
    embeddings = Embeddings(world.engine, columns)

    def make(created_at: int, vectors: dict[str, Sequence[float] | None]) -> None:
        with write_transaction(world.engine) as transaction:
            transaction.execute(delete(item_contexts).where(item_contexts.c.space == "again"))
            transaction.execute(delete(spaces).where(spaces.c.space == "again"))
            row = {"space": "again", "state": "ready", "manifest": "{}", "run_url": "-"}
            transaction.execute(insert(spaces).values(**row, created_at=created_at, loaded_at=created_at))
        put(world.engine, "again", vectors)
        with read_connection(world.engine) as connection:
            embeddings.follow(last_change(connection))

    make(1, {"p1": (1.0, 2.0), "p2": (3.0, 4.0)})
    assert look(embeddings, columns, "again", ["p1", "p2"]) == {"p1": [1.0, 2.0], "p2": [3.0, 4.0]}
    assert embeddings.created_at("again") == 1
    make(2, {"p1": (5.0, 6.0, 7.0)})
    assert embeddings.created_at("again") == 2
    assert look(embeddings, columns, "again", ["p1", "p2"]) == {"p1": [5.0, 6.0, 7.0]}
