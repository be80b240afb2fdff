"""The vectors of new posts against their definitions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from nearfeed_core.projection import unit_rows
from nearfeed_embedder import newcomers as module
from nearfeed_embedder.evaluation.ranking import rank
from nearfeed_embedder.evaluation.split import Split
from nearfeed_embedder.evaluation.vectors import by_vectors
from nearfeed_embedder.graph.features import Features
from nearfeed_embedder.newcomers import (
    GRAPH_TRUST,
    MOST_LANDMARKS,
    RIDGE,
    Known,
    Unread,
    fit_newcomers,
    from_arrays,
    similarity,
    to_arrays,
    unit_bags,
)
from nearfeed_embedder.parts import Parts, blocks_of
from nearfeed_embedder.reach import MOST, PLACES, Contest, contest, drawn_as_new, fair_reach

SEEDS = st.integers(0, 2**32)


def unread(rng: np.random.Generator, n: int, graph_dim: int = 4) -> Unread:
    text, network = (unit_rows(rng.normal(size=(n, dim)).astype(np.float32)) for dim in (6, graph_dim))
    community, tags = rng.integers(0, 4, n), np.sort(rng.integers(0, 6, (n, 1)), axis=1)
    return Unread(Features(*map(torch.from_numpy, (text, community, tags))), network)


def known(rng: np.random.Generator, n: int, rows: np.ndarray) -> Known:
    graph = unit_rows(rng.normal(size=(n, 4)).astype(np.float32))
    vectors, contexts = rng.normal(size=(2, n, 3)).astype(np.float32)
    return Known(Parts(graph, vectors, contexts), rows, rng.integers(1, 50, n))


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, n=st.integers(2, 40), new=st.integers(1, 20))
def test_with_all_as_landmarks_it_is_kernel_ridge_regression(seed: int, n: int, new: int) -> None:
    rng = np.random.default_rng(seed)
    posts, others = unread(rng, n), unread(rng, new)
    rows = rng.random(n) < 0.7
    rows[0] = True
    trained = known(rng, n, rows)
    found = fit_newcomers(posts, trained).parts(others)
    kept = posts.take(np.flatnonzero(rows))
    kernel = similarity(kept, kept).astype(np.float64) + RIDGE * np.eye(rows.sum())
    expected = similarity(others, kept) @ np.linalg.solve(kernel, trained.parts.flat[rows])
    np.testing.assert_allclose(found.graph, GRAPH_TRUST * expected[:, :4], atol=2e-3)
    np.testing.assert_allclose(found.linear_vectors, expected[:, 4:7], atol=2e-3)
    np.testing.assert_allclose(found.linear_contexts, expected[:, 7:], atol=2e-3)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 40))
def test_likeness_is_symmetric_and_positive_semidefinite(seed: int, n: int) -> None:
    posts = unread(np.random.default_rng(seed), n)
    found = similarity(posts, posts)
    np.testing.assert_allclose(found, found.T, atol=1e-5)
    assert np.linalg.eigvalsh(found.astype(np.float64)).min() > -1e-4


def test_likeness_counts_what_posts_have_in_common() -> None:
    def post(text: list[float], community: int, tags: list[int]) -> Unread:
        features = Features(torch.tensor([text]), torch.tensor([community]), torch.tensor([tags]))
        return Unread(features, np.array([[1.0, 0.0]], np.float32))

    one = post([1.0, 0.0], 1, [1, 2])
    assert similarity(one, one).item() == pytest.approx(4 + 1 + 1 + 1 + 0.25)
    assert similarity(one, post([0.0, 1.0], 2, [2, 0])).item() == pytest.approx(
        4 * np.exp(-4) + 1 + 0.25 + 0 + 0.5**0.5
    )
    # Words that nobody knew in training are no common ground.
    assert similarity(post([0.0, 1.0], 0, [0, 0]), post([0.0, 1.0], 0, [0, 0])).item() == pytest.approx(5.25)


def test_bags_have_length_one_or_none() -> None:
    bags = unit_bags(np.array([[1, 3, 0], [0, 0, 0], [2, 0, 0]])).toarray()
    np.testing.assert_allclose(np.linalg.norm(bags, axis=1), [1, 0, 1], atol=1e-6)
    assert not bags[:, 0].any()


def test_a_vector_does_not_depend_on_who_is_asked_for_along_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    posts = unread(rng, 30)
    made = replace(fit_newcomers(posts, known(rng, 30, np.ones(30, np.bool_))), reach=2.5)
    whole = made.parts(posts).flat
    monkeypatch.setattr(module, "_POSTS_AT_ONCE", 7)
    np.testing.assert_allclose(made.parts(posts).flat, whole, atol=1e-5)
    alone = np.concatenate([made.parts(posts.take(np.array([row]))).flat for row in range(30)])
    np.testing.assert_allclose(alone, whole, atol=1e-5)


def test_arrays_hold_all_of_it() -> None:
    rng = np.random.default_rng(1)
    posts = unread(rng, 20)
    made = replace(fit_newcomers(posts, known(rng, 20, np.ones(20, np.bool_))), reach=3.0)
    again = from_arrays(to_arrays(made))
    np.testing.assert_array_equal(again.parts(posts).flat, made.parts(posts).flat)
    plain = replace(made, reach=1.0).parts(posts)
    np.testing.assert_allclose(made.parts(posts).linear_vectors, 3 * plain.linear_vectors, rtol=1e-6)
    np.testing.assert_array_equal(made.parts(posts).contexts, plain.contexts)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_an_unchanged_post_keeps_its_trained_parts_and_a_new_one_what_it_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    trained = known(rng, 8, np.ones(8, np.bool_)).parts
    as_new = Parts(*(0.5 * part for part in (trained.graph, trained.linear_vectors, trained.linear_contexts)))
    shifts = trained.flat - as_new.flat
    shifts[4:] = 0
    moved = as_new.moved(shifts)
    np.testing.assert_allclose(moved.flat[:4], trained.flat[:4], atol=1e-5)
    np.testing.assert_array_equal(moved.flat[4:], as_new.flat[4:])


def a_contest(rng: np.random.Generator, readers: int, old: int, new: int) -> Contest:
    return Contest(*(rng.normal(size=(readers, n)).astype(np.float32) for n in (min(old, PLACES), new, new)))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, fair=st.floats(0.02, 0.4))
def test_the_reach_gives_new_posts_their_share(seed: int, fair: float) -> None:
    rng = np.random.default_rng(seed)
    found = a_contest(rng, 60, 20, 80)
    # Old posts are far ahead of new ones of reach 1, as trained ones are of averages.
    found = replace(found, old=found.old + 5, graph=0.1 * found.graph)
    reach = fair_reach(found, fair)
    assert 1 / MOST < reach < MOST
    assert found.new_share(reach) == pytest.approx(fair, abs=0.02)
    assert found.new_share(1.0) < found.new_share(reach)


def test_where_no_reach_gives_the_share_it_is_one() -> None:
    rng = np.random.default_rng(0)
    found = a_contest(rng, 10, 20, 30)
    assert fair_reach(replace(found, linear=0 * found.linear, old=found.old + 99), 0.1) == 1
    assert fair_reach(replace(found, graph=found.graph + 99), 0.1) == 1
    # All scores of the linear part are below 0: the longer, the fewer places.
    assert fair_reach(replace(found, linear=-abs(found.linear)), 0.1) == 1
    assert fair_reach(a_contest(rng, 10, 20, 0), 0.1) == 1
    assert fair_reach(a_contest(rng, 0, 20, 10), 0.1) == 1


def test_readers_who_have_read_nearly_all_are_passed_over() -> None:
    rng = np.random.default_rng(0)
    trained = known(rng, 60, np.ones(60, np.bool_)).parts
    old = np.arange(60) < 50
    new = Parts(trained.graph[~old], trained.linear_vectors[~old], trained.linear_contexts[~old])
    read = np.zeros((3, 60))
    read[0, :10], read[1, :11], read[2, :50] = 1, 1, 1
    found = contest(trained, old, new, sparse.csr_matrix(read), blocks_of(4, 3, 1.0))
    # Of 50 old posts 40 are left to the first, 39 to the second and none to the third.
    assert found.old.shape == (1, PLACES)
    assert found.linear.shape == (1, 10)


@pytest.mark.parametrize(("n", "distinct"), [(500, 1), (3_000, 2_100), (1_900, 300)])
def test_posts_that_are_alike_get_the_mean_of_what_they_stand_for(n: int, distinct: int) -> None:
    rng = np.random.default_rng(0)
    which = np.concatenate([np.arange(distinct), rng.integers(0, distinct, n - distinct)])
    posts = unread(rng, distinct).take(which)
    trained = known(rng, n, np.ones(n, np.bool_))
    made = fit_newcomers(posts, trained)
    assert np.isfinite(made.weights).all()
    # Ridge regression on repeated rows is that on their means, each row counting as often as it is repeated.
    count = np.bincount(which, minlength=distinct)
    sums = np.zeros((distinct, trained.parts.flat.shape[1]))
    np.add.at(sums, which, trained.parts.flat)
    one = posts.take(np.arange(distinct))
    kernel = similarity(one, one).astype(np.float64) + RIDGE * np.diag(1 / count)
    expected = similarity(one, one) @ np.linalg.solve(kernel, sums / count[:, None])
    if n <= MOST_LANDMARKS:
        np.testing.assert_allclose(made.parts(one).linear_vectors, expected[:, 4:7], atol=5e-3)
    assert abs(made.parts(one).linear_vectors).max() <= 1.5 * abs(expected[:, 4:7]).max()


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, reach=st.floats(0.1, 10), scale=st.floats(0.1, 3))
def test_the_share_of_a_contest_is_that_of_a_full_ranking(seed: int, reach: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    n, new = 80, np.arange(68, 80)
    is_new = np.isin(np.arange(n), new)
    trained = known(rng, n, np.ones(n, np.bool_)).parts
    history = sparse.csr_matrix(np.where(rng.random((15, n)) < 0.2, rng.random((15, n)), 0) * ~is_new)
    pretended = Parts(trained.graph[new], trained.linear_vectors[new], trained.linear_contexts[new])
    blocks = blocks_of(4, 3, scale)
    share = contest(trained, ~is_new, pretended, history, blocks).new_share(reach)

    vectors = trained.vectors.copy()
    vectors[new, 4:] *= np.float32(reach)
    read = (history > 0).astype(np.float32)
    everyone = sparse.csr_matrix(np.ones((15, n), np.float32))
    read_by_all = sparse.csr_matrix(np.broadcast_to(~is_new, (15, n)).astype(np.float32))
    split = Split(
        [str(post) for post in range(n)], read_by_all, history, read, everyone, np.ones(n, np.bool_)
    )
    scorer = by_vectors(vectors, trained.contexts, blocks, history)
    assert share == pytest.approx(rank(scorer, split).mean("new_share@20"), abs=1e-3)


def test_a_tenth_of_the_known_posts_is_taken_as_new() -> None:
    rows = np.arange(100) % 2 == 0
    drawn = drawn_as_new(rows, np.random.default_rng(0))
    assert len(drawn) == 5
    assert rows[drawn].all()
    assert not len(drawn_as_new(np.ones(9, np.bool_), np.random.default_rng(0)))
