"""Splits by posts: what is hidden is hidden from everything but the figures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.embedder.taste import bag_of_words, make_dataset, make_readings

from nearfeed_core.readings import DAY_MICROS
from nearfeed_embedder.dataset import Dataset, Post, Readings
from nearfeed_embedder.evaluation.hidden import Hidden, hide_posts, split_hidden
from nearfeed_embedder.evaluation.ranking import rank
from nearfeed_embedder.graph.features import features_of, vocabulary_of
from nearfeed_embedder.graph.pinsage import Shape
from nearfeed_embedder.graph.train import TrainRule
from nearfeed_embedder.linear.autoencoder import LinearRule
from nearfeed_embedder.stages import finish
from nearfeed_embedder.training import Inputs, Joined


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.floats(0, 0.9), each=st.integers(1, 30))
def test_hidden_posts_and_those_alone_are_new(seed: int, share: float, each: int) -> None:
    readings = make_readings(readers=20, posts=60, each=each)
    hidden = hide_posts(readings, 63, seed=seed, share=share)
    read = np.unique(readings.item)
    assert hidden.posts.sum() == round(share * len(read))
    assert not hidden.posts[np.setdiff1d(np.arange(63), read)].any()
    assert not hidden.posts[readings.item[hidden.train]].any()
    assert np.array_equal(np.unique(readings.item[hidden.train]), read[~hidden.posts[read]])


def test_seeds_draw_other_posts_and_the_same_seed_the_same() -> None:
    readings = make_readings()
    first, again, other = (hide_posts(readings, 120, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.posts, again.posts)
    assert np.array_equal(first.train, again.train)
    assert not np.array_equal(first.posts, other.posts)


def test_a_split_by_hand() -> None:
    # Reader 0 has read posts 0 (90 days before), 1, 2 and 3; reader 1 1 and 2; reader 2 3 alone.
    rows = [(0, 0, 0), (0, 1, 90), (0, 2, 91), (0, 3, 92), (1, 1, 5), (1, 2, 6), (2, 3, 7)]
    reader, item, day = (np.array(column) for column in zip(*rows, strict=True))
    readings = Readings(reader, item, day * DAY_MICROS, np.ones(7)).sorted()
    posts = [Post(f"p{number}", "", (), "") for number in range(5)]
    dataset = Dataset(posts, np.ones(5, np.int64), readings, half_life_days=90.0)
    hidden = Hidden(np.arange(5) == 3, np.array([True, True, False, False, True, True, False]))
    split = split_hidden(dataset, hidden)
    assert split.train.toarray().tolist() == [[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0] * 5]
    # Reader 1 has nothing to find, and nothing describes reader 2.
    assert split.targets.toarray().tolist() == [[0, 0, 1, 1, 0], [0] * 5, [0] * 5]
    assert split.masked.toarray().tolist() == [[1, 1, 0, 0, 0], [0] * 5, [0] * 5]
    # The newest reading that describes counts whole, one of a half-life before it half.
    np.testing.assert_allclose(split.history.toarray()[0], [0.5, 1, 0, 0, 0])
    assert split.candidates.tolist() == [True, True, True, True, False]
    assert split.new_items.tolist() == hidden.posts.tolist()

    def scorer(_readers: np.ndarray) -> np.ndarray:
        return np.array([[9, 8, 1, 2, 7]], np.float32)

    found = rank(scorer, split)
    assert found.ranked[0, :2].tolist() == [3, 2]
    assert found.values["recall@10"].tolist() == [1.0]
    assert found.values["new_share@10"].tolist() == [0.5]
    assert rank(scorer, split, among=split.new_items).ranked[0, :2].tolist() == [3, -1]


def joined_without(dataset: Dataset, hidden: Hidden) -> Joined:
    old = [post for post, new in zip(dataset.posts, hidden.posts, strict=True) if not new]
    vocabulary = vocabulary_of(old)
    features = features_of(dataset.posts, bag_of_words(dataset.posts), vocabulary)
    shape = Shape(
        features.text.shape[1], len(vocabulary.communities), len(vocabulary.tags), dim=16, hidden=16
    )
    rule = TrainRule(folds=4, draws=1)
    inputs = Inputs(dataset, features, shape, rule, LinearRule(dim=8), 0, torch.device("cpu"))
    readings = dataset.readings.take(hidden.train)
    trained = finish(inputs.train(readings, "Training", stop_after=1))
    return inputs.join(trained, readings, 30.0, 1.0)


def test_hidden_posts_leave_no_trace_in_what_is_trained() -> None:
    dataset = make_dataset()
    hidden = hide_posts(dataset.readings, 120, seed=4)
    new = hidden.posts
    without = replace(dataset, readings=dataset.readings.take(hidden.train))
    everything_kept = replace(hidden, train=np.ones(len(without.readings), np.bool_))
    others = [
        replace(post, community_id="elsewhere", tags=("odd",), text="comet star") if is_new else post
        for post, is_new in zip(dataset.posts, new, strict=True)
    ]
    first = joined_without(dataset, hidden)
    same = joined_without(without, everything_kept)
    changed = joined_without(replace(dataset, posts=others), hidden)
    np.testing.assert_array_equal(first.parts.flat, same.parts.flat)
    np.testing.assert_array_equal(first.parts.flat[~new], changed.parts.flat[~new])
    assert first.newcomers.reach == changed.newcomers.reach
    np.testing.assert_array_equal(first.newcomers.weights, changed.newcomers.weights)
    # As new is all that they are, and it does tell of their texts.
    np.testing.assert_array_equal(first.parts.flat[new], first.as_new.flat[new])
    assert not np.isclose(first.parts.flat[new], changed.parts.flat[new]).all(axis=1).any()


@pytest.mark.parametrize("posts", [4, 9, 20, 40])
def test_too_few_posts_to_measure_the_reach_leave_it_at_one(posts: int) -> None:
    dataset = make_dataset(readers=8, posts=posts, each=3)
    nothing = Hidden(np.zeros(posts, np.bool_), np.ones(len(dataset.readings), np.bool_))
    assert joined_without(dataset, nothing).newcomers.reach == 1.0
