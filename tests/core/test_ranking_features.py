import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.served_inputs import SERVED, post, reader

from nearfeed_core.ranking_features import (
    CATEGORIES,
    FeatureSpec,
    FeatureSpecError,
    Featuriser,
    Served,
    fit_spec,
)
from nearfeed_core.ranking_inputs import ReaderInputs, WeighedPost, reader_of

HOUR = 3_600_000_000


def test_features_are_what_their_names_say() -> None:
    one = reader(served_at=10 * HOUR, readings=7, communities={"a": 0.75}, tags={"x": 0.5, "y": 0.25})
    of_ranks = post(
        "p", "a", "ann", 4 * HOUR, tags=("y", "x"), readers=3, ranks={"near": 2}, scores={"near": -1.5}
    )
    spec = unscaled(fit_spec([(one, [of_ranks, post("q", "b", "bob", 12 * HOUR, ranks={"new": 1})])]))
    made = Featuriser(spec).features(one, [of_ranks], [3])
    row = dict(zip(spec.dense, made.dense[0].tolist(), strict=True))
    assert row == pytest.approx(
        {
            "log_age_hours": math.log(7),
            "log_readers": math.log(4),
            "log_readings": math.log(8),
            "community_affinity": 0.75,
            "author_affinity": 0.0,
            "tag_affinity": 0.75,
            "best_tag_affinity": 0.5,
            "hour_sin": math.sin(2 * math.pi * 10 / 24),
            "hour_cos": math.cos(2 * math.pi * 10 / 24),
            "weekday_sin": 0.0,
            "weekday_cos": 1.0,
            "sources": 1.0,
            "fused_rank": 60 / 61,
            "rank:near": 60 / 61,
            "rank:new": 0.0,
            "score:near": -1.5,
            "position": math.log(4),
        }
    )
    words = [spec.communities, spec.authors, spec.tags, spec.communities]
    assert [vocabulary[number - 1] for vocabulary, number in zip(words, made.categories[0], strict=True)] == [
        "a",
        "ann",
        "x",
        "a",
    ]


def test_what_a_vocabulary_lacks_is_0_and_a_post_of_the_future_has_no_age() -> None:
    one = reader(served_at=HOUR)
    spec = unscaled(fit_spec([(one, [post("p", "a", "ann", 0)])]))
    made = Featuriser(spec).features(one, [post("q", "z", "zoe", 9 * HOUR, tags=("t",))])
    assert made.categories.tolist() == [[0] * len(CATEGORIES)]
    assert made.dense[0, 0] == 0


@given(SERVED)
def test_features_survive_json_and_any_order_of_mappings_bit_for_bit(served: Served) -> None:
    one, posts = served
    spec = fit_spec([served])
    again = FeatureSpec.from_json(spec.to_json())
    shuffled = replace(one, communities=dict(sorted(one.communities.items(), reverse=True)))
    before, after = Featuriser(spec).features(one, posts), Featuriser(again).features(shuffled, posts)
    assert before.dense.tobytes() == after.dense.tobytes()
    assert before.categories.tobytes() == after.categories.tobytes()


@given(SERVED)
def test_a_post_has_the_same_features_among_any_others(served: Served) -> None:
    one, posts = served
    maker = Featuriser(fit_spec([served]))
    together = maker.features(one, posts)
    alone = [maker.features(one, [single]) for single in posts]
    assert np.array_equal(together.dense, np.concatenate([of.dense for of in alone]))
    assert np.array_equal(together.categories, np.concatenate([of.categories for of in alone]))
    assert np.isfinite(together.dense).all()


@given(
    st.lists(
        st.builds(
            WeighedPost,
            st.floats(0.01, 10),
            st.sampled_from("abc"),
            st.sampled_from("xyz"),
            st.sampled_from([(), ("s",), ("s", "t")]),
        ),
        max_size=12,
    )
)
def test_shares_of_a_reader_are_those_of_the_weights(history: list[WeighedPost]) -> None:
    made = reader_of(5, history)
    total = sum(weighed.weight for weighed in history)
    assert made.readings == len(history)
    for community in "abc":
        own = sum(weighed.weight for weighed in history if weighed.community_id == community)
        assert made.communities.get(community, 0) == pytest.approx(own / total if total else 0)
    tagged = sum(weighed.weight for weighed in history if weighed.tags)
    assert sum(made.tags.values()) == pytest.approx(tagged / total if total else 0)


def test_a_reader_keeps_the_largest_shares_alone() -> None:
    made = reader_of(5, [WeighedPost(1 + number, f"c{number}", "a", ()) for number in range(30)])
    assert list(made.communities) == [f"c{number}" for number in range(29, 9, -1)]


@pytest.mark.parametrize(
    ("change", "named"),
    [({"means": [1.0]}, "means must be"), ({"scales": None}, "scales"), ({"ranked": 3}, "int")],
)
def test_a_broken_spec_is_told(change: dict[str, object], named: str) -> None:
    body = fit_spec([(ReaderInputs(0), [post("p", "a", "ann", 0)])]).to_json() | change
    if change.get("scales", 1) is None:
        del body["scales"]
    with pytest.raises(FeatureSpecError, match=named):
        FeatureSpec.from_json(body)


def unscaled(spec: FeatureSpec) -> FeatureSpec:
    number = len(spec.means)
    return replace(spec, means=(0.0,) * number, scales=(1.0,) * number)
