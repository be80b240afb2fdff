import numpy as np
import pytest
import torch

from nearfeed_embedder.dataset import Post, Readings
from nearfeed_embedder.graph.features import Vocabulary, features_of, vocabulary_of
from nearfeed_embedder.graph.neighbours import Neighbours, neighbours_of, pool_neighbours
from nearfeed_embedder.graph.spectrum import spectral_ids
from nearfeed_embedder.graph.walks import WalkRule, importance_neighbours


def dense(neighbours: Neighbours, n: int) -> np.ndarray:
    rows = pool_neighbours(torch.eye(n), neighbours)
    return rows.numpy()


def test_neighbours_are_weighted_by_their_probability_of_a_visit() -> None:
    rng = np.random.default_rng(3)
    read = (rng.random((5, 6)) < 0.6) * rng.integers(1, 4, (5, 6)).astype(float)
    reader, item = np.nonzero(read)
    readings = Readings(reader, item, np.zeros(len(reader), np.int64), read[reader, item])
    rule = WalkRule(walks=40_000, hops=2, restart=0.25, neighbours=6)
    found = dense(importance_neighbours(readings, 6, rule, seed=0), 6)
    to_reader = read.T / np.maximum(read.T.sum(1, keepdims=True), 1e-9)
    to_item = read / np.maximum(read.sum(1, keepdims=True), 1e-9)
    hop = to_reader @ to_item
    visits = hop + (1 - rule.restart) * hop @ hop
    np.fill_diagonal(visits, 0)
    expected = visits / visits.sum(1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_only_the_most_visited_are_kept_and_a_post_without_readers_has_none() -> None:
    # Readers 0 to 4 read items 0 and 1, reader 5 reads items 0 and 2; item 3 is unread.
    pairs = [(reader, item) for reader in range(5) for item in (0, 1)] + [(5, 0), (5, 2)]
    reader, item = (np.array(column) for column in zip(*pairs, strict=True))
    readings = Readings(reader, item, np.zeros(12, np.int64), np.ones(12))
    found = dense(importance_neighbours(readings, 4, WalkRule(walks=200, neighbours=1), seed=0), 4)
    assert found[0].tolist() == [0, 1, 0, 0]
    assert found[3].tolist() == [0, 0, 0, 0]


def test_pooling_and_its_gradient_are_those_of_the_matrix() -> None:
    matrix = torch.tensor([[0.0, 0.5, 0.5], [1.0, 0, 0], [0, 0, 0]])
    post, other = matrix.nonzero(as_tuple=True)
    neighbours = neighbours_of(3, post, other, matrix[post, other])
    hidden = torch.randn(3, 4, requires_grad=True)
    gradient = torch.randn(3, 4)
    pool_neighbours(hidden, neighbours).backward(gradient)
    torch.testing.assert_close(pool_neighbours(hidden, neighbours), matrix @ hidden)
    torch.testing.assert_close(hidden.grad, matrix.T @ gradient)


def test_features_of_unknown_communities_and_tags_are_padding() -> None:
    known = [Post("a", "cats", ("cute", "video"), "x"), Post("b", "dogs", ("cute",), "y")]
    vocabulary = Vocabulary.from_json(vocabulary_of(known).to_json())
    assert vocabulary == vocabulary_of(known)
    text = np.zeros((3, 2), np.float32)
    features = features_of([*known, Post("c", "birds", ("rare",), "z")], text, vocabulary)
    assert features.community.tolist() == [1, 2, 0]
    assert features.tags.tolist() == [[1, 2], [1, 0], [0, 0]]


def test_ids_begin_as_the_smooth_signals_of_the_graph() -> None:
    rng = np.random.default_rng(4)
    read = rng.random((30, 12)) < 0.3
    read[:, 5] = False
    reader, item = np.nonzero(read)
    readings = Readings(reader, item, np.zeros(len(reader), np.int64), rng.random(len(reader)))
    normal = read / np.sqrt(np.maximum(read.sum(1, keepdims=True), 1) * np.maximum(read.sum(0), 1))
    values, vectors = np.linalg.eigh(normal.T @ normal)
    leading = vectors[:, -4:] * np.sqrt(values[-4:])
    ids = spectral_ids(readings, 12, 4).numpy()
    np.testing.assert_allclose(ids[5], 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(ids, axis=1).mean(), 2, rtol=1e-5)
    factor = np.linalg.norm(leading, axis=1).mean() / 2
    np.testing.assert_allclose(ids @ ids.T * factor**2, leading @ leading.T, atol=1e-5)
    np.testing.assert_array_equal(ids, spectral_ids(readings, 12, 4).numpy())


def test_dimensions_beyond_the_rank_of_the_graph_begin_at_0() -> None:
    readings = Readings(np.array([0, 0, 1]), np.array([0, 1, 1]), np.zeros(3, np.int64), np.ones(3))
    ids = spectral_ids(readings, 3, 8).numpy()
    assert np.isfinite(ids).all()
    assert (ids[:, :1] != 0).any()
    assert (ids[:, 2:] == 0).all()
    alone = Readings(np.array([0, 0]), np.array([0, 1]), np.zeros(2, np.int64), np.ones(2))
    assert (spectral_ids(alone, 2, 8) == 0).all()


@pytest.mark.parametrize("pieces", [3, 40, 300])
def test_ids_of_a_graph_of_equal_pieces_begin_the_same_each_time(pieces: int) -> None:
    """Its singular values are all equal, so that any basis would do, but it must be one."""
    reader, item = np.nonzero(np.kron(np.eye(pieces), np.ones((2, 2))))
    readings = Readings(reader, item, np.zeros(len(reader), np.int64), np.ones(len(reader)))
    first, again = (spectral_ids(readings, 2 * pieces, 16) for _ in range(2))
    assert torch.isfinite(first).all()
    assert torch.equal(first, again)


def test_features_are_alike_where_nothing_tells_posts_apart() -> None:
    posts = [Post("a", "cats", ("cute",), "x"), Post("b", "cats", ("cute",), "y")]
    same, other = np.zeros((2, 2), np.float32), np.eye(2, dtype=np.float32)
    assert features_of(posts, same, vocabulary_of(posts)).alike
    assert not features_of(posts, other, vocabulary_of(posts)).alike
    posts[1] = Post("b", "dogs", ("cute",), "y")
    assert not features_of(posts, same, vocabulary_of(posts)).alike
