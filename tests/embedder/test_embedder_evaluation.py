from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from nearfeed_contracts.runs import Block
from nearfeed_core.pooling import pool_reader
from nearfeed_core.readings import DAY_MICROS
from nearfeed_core.splits import split_by_time
from nearfeed_embedder.comparison.compare import compare, gains
from nearfeed_embedder.dataset import Dataset, Post, Readings
from nearfeed_embedder.evaluation import ranking as ranking_module
from nearfeed_embedder.evaluation.by_time import split_dataset
from nearfeed_embedder.evaluation.ranking import NAMES, Ranking, rank
from nearfeed_embedder.evaluation.split import Scorer, Split
from nearfeed_embedder.evaluation.vectors import by_vectors, pool_readers


def readings_of(*rows: tuple[int, int, int]) -> Readings:
    """Of (reader, item, day), each of weight 1."""
    reader, item, day = (np.array(column) for column in zip(*rows, strict=True))
    return Readings(reader, item, day * DAY_MICROS, np.ones(len(rows))).sorted()


def csr(rows: Any) -> sparse.csr_matrix:
    return sparse.csr_matrix(np.array(rows, dtype=np.float32))


def split_of(train: Any, targets: Any, candidates: list[bool] | None = None) -> Split:
    """Readers described by `train`, which is masked."""
    n_items = len(train[0])
    known = np.array(candidates if candidates is not None else [True] * n_items)
    ids = [f"p{number}" for number in range(n_items)]
    return Split(ids, csr(train), csr(train), csr(train), csr(targets), known)


def fixed(*scores: list[float]) -> Scorer:
    return lambda readers: np.array(scores, np.float32)[readers]


def test_what_is_masked_or_no_candidate_is_never_ranked() -> None:
    split = split_of([[1, 0, 0, 0]], [[0, 0, 1, 0]], [True, True, True, False])
    found = rank(fixed([9.0, 2.0, 1.0, 8.0]), split)
    assert found.ranked.tolist() == [[1, 2, -1, -1]]
    assert found.values["recall@10"].tolist() == [1.0]
    assert found.values["ndcg@10"].tolist() == pytest.approx([1 / np.log2(3)])
    assert found.values["mrr@10"].tolist() == [0.5]
    assert found.coverage[10] == pytest.approx(2 / 3)


def test_a_target_that_is_no_candidate_counts_for_nothing() -> None:
    split = split_of([[1, 0, 0], [1, 0, 0]], [[0, 1, 1], [0, 0, 1]], [True, True, False])
    found = rank(fixed([0, 1, 2], [0, 1, 2]), split)
    assert found.readers.tolist() == [0]
    assert found.values["recall@10"].tolist() == [1.0]


def test_only_readers_with_a_target_are_scored_and_each_by_their_own_row() -> None:
    split = split_of([[1, 0, 0]] * 3, [[0, 1, 0], [0, 0, 0], [0, 0, 1]])
    found = rank(fixed([0, 2, 1], [0, 0, 0], [0, 2, 1]), split, cutoffs=(1,))
    assert found.readers.tolist() == [0, 2]
    assert found.values["recall@1"].tolist() == [1.0, 0.0]


def test_among_new_posts_the_others_are_neither_ranked_nor_looked_for() -> None:
    split = split_of([[1, 1, 0, 0], [1, 0, 0, 0]], [[0, 0, 1, 0], [0, 1, 0, 0]])
    assert split.new_items.tolist() == [False, False, True, True]
    scores = fixed([0, 5, 1, 2], [0, 5, 1, 2])
    everything = rank(scores, split, cutoffs=(1, 2))
    assert everything.values["new_share@1"].tolist() == [1.0, 0.0]
    assert everything.values["new_share@2"].tolist() == [1.0, 0.5]
    among = rank(scores, split, among=split.new_items, cutoffs=(1, 2))
    assert among.readers.tolist() == [0]
    assert among.ranked.tolist() == [[3, 2]]
    assert among.values["recall@2"].tolist() == [1.0]


def test_ranking_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    read, wanted = np.split(rng.random((2, 23, 40)) < 0.2, 2)
    split = split_of(read[0], wanted[0] & ~read[0])
    scores = rng.integers(0, 9, (23, 40)).astype(np.float32)
    whole = rank(lambda readers: scores[readers], split)
    monkeypatch.setattr(ranking_module, "_CELLS_AT_ONCE", 40 * 4)
    parts = rank(lambda readers: scores[readers], split)
    np.testing.assert_array_equal(whole.ranked, parts.ranked)
    assert whole.coverage == parts.coverage
    assert whole.values.keys() == {f"{name}@{k}" for name in NAMES for k in (10, 20, 50)}


def test_readers_are_described_with_the_weights_of_the_moment_and_without_targets() -> None:
    rows = readings_of(*((1, item, 0) for item in range(7)), *((0, item, 10 + item) for item in range(7)))
    dataset = Dataset([Post(f"p{n}", "c", (), "") for n in range(7)], np.ones(7), rows, 1.0)
    by_time = split_by_time(rows.reader, rows.item, rows.time, 7, share=0.5, least_later=4)
    split = split_dataset(dataset, by_time)
    assert split.readers.tolist() == [0]
    assert split.history.toarray()[0].tolist() == [0.25, 0.5, 1.0, 0, 0, 0, 0]
    assert split.masked.toarray()[0].tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert split.targets.toarray()[0].tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert split.train.toarray().tolist() == [[0] * 7, [1] * 7]
    assert split.times is not None
    assert split.times.tolist() == [0] * 7


def test_times_belong_to_the_entries_of_train() -> None:
    rng = np.random.default_rng(0)
    pairs = [(reader, item) for reader in range(6) for item in range(9) if rng.random() < 0.7]
    rows = readings_of(*((reader, item, int(rng.integers(100))) for reader, item in pairs))
    dataset = Dataset([Post(f"p{n}", "c", (), "") for n in range(9)], np.ones(9), rows, 1.0)
    split = split_dataset(dataset, split_by_time(rows.reader, rows.item, rows.time, 9, least_later=2))
    told = {(r, i): t for r, i, t in zip(rows.reader, rows.item, rows.time, strict=True)}
    coo = split.train.tocoo()
    assert split.times is not None
    assert len(split.times) == split.train.nnz
    assert all(told[r, i] == t for r, i, t in zip(coo.row, coo.col, split.times, strict=True))


BLOCKS = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["mean", "sum", "ridge"]), st.floats(-2, 2), st.booleans()),
    min_size=1,
    max_size=3,
)


@given(BLOCKS, st.integers(0, 2**32 - 1))
def test_readers_are_pooled_as_they_are_when_served(parts: list[Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    ends = np.cumsum([dim for dim, *_ in parts])
    blocks = [
        Block(start=end - dim, dim=dim, pooling=pooling, scale=scale, normalize=normalize)
        for end, (dim, pooling, scale, normalize) in zip(ends.tolist(), parts, strict=True)
    ]
    contexts = rng.normal(size=(8, ends[-1])).astype(np.float32)
    history = csr(rng.random((5, 8)) * (rng.random((5, 8)) < 0.4))
    pooled = pool_readers(contexts, history, blocks)
    for reader, row in zip(pooled, history, strict=True):
        expected = pool_reader(contexts[row.indices], row.data.tolist(), blocks)
        np.testing.assert_allclose(reader, expected, rtol=1e-5, atol=1e-6)


def test_vectors_are_scored_by_one_inner_product() -> None:
    vectors = np.eye(3, dtype=np.float32)
    contexts = np.array([[2, 0, 0], [0, 4, 0], [0, 0, 1]], dtype=np.float32)
    score = by_vectors(vectors, contexts, [Block(start=0, dim=3)], csr([[0, 0, 0], [1, 3, 0]]))
    assert score(np.array([1])).tolist() == [[0.5, 3.0, 0.0]]


@pytest.fixture
def ranking_with() -> Callable[..., Ranking]:
    def make(recall: list[float], ndcg: list[float]) -> Ranking:
        n = len(recall)
        values = {"recall@20": np.array(recall), "ndcg@20": np.array(ndcg)}
        return Ranking(np.arange(n), np.zeros((n, 1), np.intp), np.zeros((n, 1), np.bool_), values, {})

    return make


def test_gains_are_paired(ranking_with: Callable[..., Ranking]) -> None:
    model, other = ranking_with([0.5, 0.9], [0.4, 0.8]), ranking_with([0.4, 0.8], [0.4, 0.8])
    found = gains(model, other)
    assert (found["recall@20"].low, found["recall@20"].high) == pytest.approx((0.1, 0.1))
    assert found["ndcg@20"].sign == 0
    metrics = compare("model", {"model": model, "other": other})
    assert metrics["readers"] == 2
    assert metrics["models"]["model"]["recall@20"]["mean"] == pytest.approx(0.7)
    assert metrics["gains"]["other"]["recall@20"]["mean"] == pytest.approx(0.1)
