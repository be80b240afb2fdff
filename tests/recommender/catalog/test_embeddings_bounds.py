"""The cache of input embeddings gives what SQL has, however little of it fits in memory."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select
from tests.recommender.threaded import at_once, meanwhile

from nearfeed_backends.opening import open_database
from nearfeed_contracts.tables import item_contexts
from nearfeed_recommender.catalog.columns import Columns
from nearfeed_recommender.catalog.embeddings import CONTEXTS, Embeddings, last_change
from nearfeed_runtime.changes import next_change
from nearfeed_runtime.sql import committed, read_connection, upsert

DIM = 3
IDS = [f"p{number}" for number in range(12)]
names = itertools.count()
Contexts = Mapping[str, "int | None"]
"""By post the value of which its embedding is made, None for a post that was taken down."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path_factory.mktemp('embeddings')}/nearfeed.db")
    yield engine
    engine.dispose()


def embedding(value: int) -> np.ndarray:
    """Of zeros for 0."""
    return np.full(DIM, value, np.float32)


def write(engine: Engine, space: str, contexts: Contexts) -> None:
    """What the indexer does with new embeddings and deletions."""

    def work(transaction: Connection) -> None:
        change = next_change(transaction, CONTEXTS, len(contexts))
        rows = [
            {
                "space": space,
                "item_id": item_id,
                "version": 1,
                "context": None if value is None else embedding(value).astype("<f4").tobytes(),
                "inferred": False,
                "change_id": change + place,
            }
            for place, (item_id, value) in enumerate(contexts.items())
        ]
        upsert(transaction, item_contexts, rows)

    committed(engine, work)


def follow(engine: Engine, embeddings: Embeddings) -> None:
    """What a request does before it asks."""
    with read_connection(engine) as connection:
        last = last_change(connection)
    embeddings.follow(last)


def of(embeddings: Embeddings, columns: Columns, space: str, ids: Sequence[str]) -> list[list[float] | None]:
    """The embedding of each post, None where there is none."""
    found = embeddings.of(space, columns.reserve(ids))
    assert found.vectors.shape[0] == len(found.lengths) == found.known.sum()
    norms = np.linalg.norm(found.vectors, axis=1) if len(found.vectors) else np.empty(0)
    np.testing.assert_allclose(found.lengths, np.where(norms > 0, norms, 1), rtol=1e-6)
    vectors = iter(found.vectors.tolist())
    return [next(vectors) if known else None for known in found.known.tolist()]


def expected(contexts: Contexts, ids: Sequence[str]) -> list[list[float] | None]:
    values = [contexts.get(item_id) for item_id in ids]
    return [None if value is None else embedding(value).tolist() for value in values]


asked = st.lists(st.sampled_from(IDS), max_size=9)
written = st.dictionaries(st.sampled_from(IDS), st.none() | st.integers(0, 9), min_size=1, max_size=4)
steps = st.lists(
    st.one_of(st.tuples(st.just("ask"), asked), st.tuples(st.just("write"), written)), min_size=3, max_size=14
)


@settings(max_examples=60, deadline=None)
@given(told=steps, slots=st.integers(0, 8), preload=st.booleans())
def test_embeddings_are_those_of_sql(
    engine: Engine, told: list[tuple[str, list[str] | dict[str, int | None]]], slots: int, preload: bool
) -> None:
    space, contexts = f"s{next(names)}", dict[str, int | None]()
    columns = Columns()
    embeddings = Embeddings(engine, columns, most_bytes=slots * 4 * DIM)
    if preload:
        write(engine, space, first := {item_id: 5 for item_id in IDS[::2]})
        contexts |= first
        embeddings.preload(space)
    for step, what in told:
        if isinstance(what, dict):
            write(engine, space, what)
            contexts |= what
        else:
            follow(engine, embeddings)
            assert of(embeddings, columns, space, what) == expected(contexts, what), step


def test_what_is_asked_for_at_once_does_not_push_itself_out(engine: Engine) -> None:
    """More posts than a statement asks for and more than fit, of which some are in memory already."""
    space, columns = f"s{next(names)}", Columns()
    ids = [f"p{number}" for number in range(1_500)]
    contexts = {item_id: number % 50 for number, item_id in enumerate(ids)}
    write(engine, space, contexts)
    embeddings = Embeddings(engine, columns, most_bytes=0)
    for start, end in ((0, 10), (5, 40), (0, 1_500), (0, 3), (700, 1_400), (1, 1_200)):
        assert of(embeddings, columns, space, ids[start:end]) == expected(contexts, ids[start:end])


@pytest.mark.parametrize("slots", [0, 10, 100])
def test_a_post_that_changes_again_and_again_pushes_none_out_that_is_asked_for_beside_it(
    engine: Engine, slots: int
) -> None:
    space, columns = f"s{next(names)}", Columns()
    contexts = dict.fromkeys(IDS, 1)
    write(engine, space, contexts)
    embeddings = Embeddings(engine, columns, most_bytes=slots * 4 * DIM)
    for turn in range(120):
        write(engine, space, {"p9": turn})
        follow(engine, embeddings)
        ids = ["p9", *IDS[turn % 3 : 8]]
        assert of(embeddings, columns, space, ids) == expected({**contexts, "p9": turn}, ids)


def test_spaces_do_not_meet(engine: Engine) -> None:
    columns = Columns()
    embeddings = Embeddings(engine, columns)
    spaces = [f"s{next(names)}" for _ in range(6)]
    for number, space in enumerate(spaces):
        write(engine, space, {"p0": number})
    for _ in range(2):
        for number, space in enumerate(spaces):
            assert of(embeddings, columns, space, ["p0", "p1"]) == expected({"p0": number}, ["p0", "p1"])


@pytest.mark.parametrize("slots", [0, 1_000])
def test_many_threads_get_what_was_written_last_or_later(engine: Engine, slots: int) -> None:
    """Values of a post only rise. Who asks gets none that is older than what SQL had before."""
    space, columns = f"s{next(names)}", Columns()
    embeddings = Embeddings(engine, columns, most_bytes=slots * 4 * DIM)
    write(engine, space, dict.fromkeys(IDS, 1))

    def ask(random: Random) -> None:
        ids = random.sample(IDS, random.randint(1, 8))
        before = in_sql(engine, space)
        follow(engine, embeddings)
        found = of(embeddings, columns, space, ids)
        for item_id, vector in zip(ids, found, strict=True):
            assert vector is not None
            assert vector[0] >= before[item_id]

    with meanwhile(*(partial(ask, Random(seed)) for seed in range(3))):
        for value in range(2, 30):
            write(engine, space, {item_id: value for item_id in IDS[value % 5 :: 3]})
    follow(engine, embeddings)
    now = in_sql(engine, space)
    at_once(*[lambda: _assert_all(embeddings, columns, space, now)] * 3)


def _assert_all(embeddings: Embeddings, columns: Columns, space: str, now: Mapping[str, float]) -> None:
    assert of(embeddings, columns, space, IDS) == [[now[item_id]] * DIM for item_id in IDS]


def in_sql(engine: Engine, space: str) -> dict[str, float]:
    query = select(item_contexts.c.item_id, item_contexts.c.context).where(item_contexts.c.space == space)
    with read_connection(engine) as connection:
        return {row.item_id: float(np.frombuffer(row.context, "<f4")[0]) for row in connection.execute(query)}
