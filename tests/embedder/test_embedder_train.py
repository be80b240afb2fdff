from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.embedder.taste import ALL_WORDS, bag_of_words, make_dataset, make_readings, taste_of

from nearfeed_contracts.runs import Block
from nearfeed_core.pooling import pool_reader
from nearfeed_core.readings import DAY_MICROS
from nearfeed_core.splits import split_by_time
from nearfeed_embedder.baselines.popularity import popularity
from nearfeed_embedder.dataset import Dataset, Post, Readings, profile
from nearfeed_embedder.evaluation.by_time import split_dataset
from nearfeed_embedder.evaluation.ranking import RECALL, rank
from nearfeed_embedder.evaluation.vectors import by_vectors
from nearfeed_embedder.graph.features import Features, features_of, vocabulary_of
from nearfeed_embedder.graph.folds import draw_examples, reader_folds
from nearfeed_embedder.graph.pinsage import Shape
from nearfeed_embedder.graph.train import Trained, TrainRule, fitted, train
from nearfeed_embedder.graph.walks import WalkRule
from nearfeed_embedder.stages import finish

CPU = torch.device("cpu")
POSTS = 120


def features_and_shape(dataset: Dataset) -> tuple[Features, Shape]:
    vocabulary = vocabulary_of(dataset.posts)
    features = features_of(dataset.posts, bag_of_words(dataset.posts), vocabulary)
    shape = Shape(len(ALL_WORDS), len(vocabulary.communities), len(vocabulary.tags), dim=16, hidden=32)
    return features, shape


def train_on(dataset: Dataset, readings: Readings, epochs: int = 6, seed: int = 0) -> Trained:
    features, shape = features_and_shape(dataset)
    rule = TrainRule(epochs=epochs, folds=4, draws=2, weight_decay=0.01)
    shape, rule = fitted(shape, rule, features)
    return finish(train(features, readings, 90.0, shape, rule, seed=seed, device=CPU))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset()


@pytest.mark.parametrize("known", [True, False])
def test_it_finds_more_than_popularity_whether_posts_are_known_or_not(dataset: Dataset, known: bool) -> None:
    posts = dataset.posts if known else [Post(post.item_id, "", (), "the same") for post in dataset.posts]
    dataset = replace(dataset, posts=posts)
    readings = dataset.readings
    split = split_by_time(readings.reader, readings.item, readings.time, POSTS, least_later=4)
    past = readings.take(split.train)
    vectors = train_on(dataset, past).vectors
    held_out = split_dataset(dataset, split)
    found = rank(by_vectors(vectors, vectors, [Block(start=0, dim=16)], held_out.history), held_out)
    assert len(found.readers) > 50
    assert found.mean(RECALL) > 1.5 * rank(popularity(held_out.train), held_out).mean(RECALL)


def test_a_new_post_is_nearest_to_posts_of_its_taste(dataset: Dataset) -> None:
    new = np.arange(POSTS) >= POSTS - 12
    readings = dataset.readings.take(~new[dataset.readings.item])
    vectors = train_on(dataset, readings, epochs=12).vectors
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    tastes = np.array([taste_of(post) for post in range(POSTS)])
    nearest = np.argsort(-vectors[new] @ vectors[~new].T, axis=1)[:, :10]
    assert ((tastes[~new][nearest] == tastes[new][:, None]).sum(axis=1) >= 9).all()


def test_training_is_repeatable_and_depends_on_the_seed(dataset: Dataset) -> None:
    first, again, other = (
        train_on(dataset, dataset.readings, epochs=2, seed=seed).vectors for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_best_epoch_is_kept_and_training_stops_early(dataset: Dataset) -> None:
    features, shape = features_and_shape(dataset)
    seen: list[np.ndarray] = []

    def validate(vectors: np.ndarray) -> float:
        seen.append(vectors.copy())
        return [0.1, 0.5, 0.4, 0.3, 0.2, 0.1][len(seen) - 1]

    rule = TrainRule(epochs=6, folds=2, draws=1, patience=2)
    trained = finish(
        train(features, dataset.readings, 90.0, shape, rule, seed=0, device=CPU, validate=validate)
    )
    assert (trained.epochs, len(seen)) == (2, 4)
    np.testing.assert_array_equal(trained.vectors, seen[1])
    stopped = finish(train(features, dataset.readings, 90.0, shape, rule, seed=0, device=CPU, stop_after=2))
    np.testing.assert_array_equal(stopped.vectors, trained.vectors)


def test_readers_of_a_fold_are_absent_from_its_graph(dataset: Dataset) -> None:
    # Each reader of the first ten has read two posts that nobody else has.
    pairs = [(reader, POSTS + 2 * reader + which) for reader in range(10) for which in (0, 1)]
    reader, item = (np.array(column) for column in zip(*pairs, strict=True))
    private = Readings(reader, item, np.full(20, 50 * DAY_MICROS), np.ones(20))
    columns = (
        np.concatenate([getattr(part, name) for part in (dataset.readings, private)])
        for name in ("reader", "item", "time", "weight")
    )
    readings = Readings(*columns).sorted()
    n = POSTS + 20
    folds = list(reader_folds(readings, n, 4, WalkRule(), np.random.default_rng(0), recency=0.0))
    assert sorted(int(readings.reader[rows[0]]) for fold in folds for rows in fold.readers) == list(range(60))
    for fold in folds:
        inside = {int(readings.reader[rows[0]]) for rows in fold.readers}
        unread = fold.counters[:, 0] == 0
        entries = torch.diff(torch.cat([fold.neighbours.start, torch.tensor([len(fold.neighbours.to)])]))
        for one, post in pairs:
            assert unread[post] == (one in inside)
            assert (entries[post] == 0) == (one in inside)
            assert one not in inside or post not in fold.neighbours.to


def test_history_and_targets_are_apart_and_weighted_as_served() -> None:
    readings = make_readings(readers=5, posts=40, each=12)
    readings = replace(readings, weight=np.where(readings.item % 2, 2.0, 1.0))
    readers = readings.rows_by_reader()
    examples = draw_examples(
        readings, 40, readers, 30.0, np.random.default_rng(0), kept_share=(0.2, 0.8), target_power=3.0
    )
    assert not ((examples.history > 0) & (examples.target > 0)).any()
    for row, rows in enumerate(readers):
        found = examples.target[row].nonzero().flatten().numpy()
        described = examples.history[row].nonzero().flatten().numpy()
        assert sorted([*found, *described]) == sorted(readings.item[rows])
        ratio = examples.target[row, found] / examples.target[row, found].min()
        odd = found % 2 == 1
        assert ratio.tolist() == pytest.approx(np.where(odd, 8.0 if not odd.all() else 1.0, 1.0))
        past = rows[np.isin(readings.item[rows], described)]
        items, weights = profile(readings, past, 30.0)
        np.testing.assert_allclose(examples.history[row, items], weights / weights.sum(), rtol=1e-5)


def test_the_score_in_training_is_the_score_that_is_served(dataset: Dataset) -> None:
    readings = make_readings(readers=4, posts=POSTS, each=20)
    readers = readings.rows_by_reader()
    examples = draw_examples(
        readings, POSTS, readers, 90.0, np.random.default_rng(0), kept_share=(0.5, 0.5), target_power=1.0
    )
    vectors = np.random.default_rng(1).normal(size=(POSTS, 16)).astype(np.float32)
    trained = (examples.history @ torch.from_numpy(vectors)) @ torch.from_numpy(vectors).T
    for row, rows in enumerate(readers):
        past = rows[np.isin(readings.item[rows], examples.history[row].nonzero().flatten().numpy())]
        items, weights = profile(readings, past, 90.0)
        reader = pool_reader(vectors[items], weights.tolist(), [Block(start=0, dim=16)])
        np.testing.assert_allclose(vectors @ reader, trained[row].numpy(), atol=1e-5)
