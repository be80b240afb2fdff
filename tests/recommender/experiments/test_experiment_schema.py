"""Designs: each fault is told by its place, and sizes of a layer are kept apart."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.recommender.experiment_designs import design_of

from nearfeed_contracts.errors import ConflictError
from nearfeed_recommender.config.checks import default_config
from nearfeed_recommender.config.document import Document, yaml_document
from nearfeed_recommender.config.faults import ConfigError
from nearfeed_recommender.experiments.live import members, ranges_of, resized
from nearfeed_recommender.experiments.schema import BUCKETS, first_shares
from nearfeed_recommender.experiments.validation import check_design, named

TEXT = """
name: walks
target: {page: home, section: popular}
arms:
  control: null
  latest: latest
allocation: {type: fixed}
metric: reads_per_reader
guardrails:
- {metric: took_ms, most_loss: 0.2}
"""
BANDIT = TEXT.split("guardrails")[0].replace("fixed", "thompson, floor: 0.1")


def test_a_file_is_read() -> None:
    design = check_design(yaml_document(TEXT), default_config())
    assert (str(design.place), design.layer_name, design.control) == ("home/popular",) * 2 + ("control",)
    assert design.guardrails[0].sign == -1


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "latest: latest",
            "latest: lately",
            "arms.latest (line 6): there is no provider 'lately'; providers",
        ),
        ("page: home", "page: hom", "target.page (line 3): there is no page 'hom'; pages: home"),
        ("section: popular", "section: top", "target.section (line 3): page 'home' has no section 'top'"),
        ("type: fixed", "type: lints, floor: 0.6", "allocation.floor (line 7): should be less than or"),
        ("type: fixed", "type: lints", "guardrails need a fixed allocation"),
        ("type: fixed", "type: ucb", "allocation.type (line 7): 'ucb' is unknown; here may stand fixed"),
        ("metric: reads_per_reader", "metric: joy", "metric (line 8): 'joy' is unknown; here may stand ctr"),
        ("most_loss", "loss", "guardrails[0].loss (line 10): is unknown; here may stand metric, better"),
        ("name: walks", "name: a/b", "name (line 2): string should match pattern"),
        ("control: null", "holdout: null", "no arm may be named holdout"),
    ],
)
def test_a_fault_is_told_by_its_place(old: str, new: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_design(yaml_document(TEXT.replace(old, new)), default_config())
    assert str(refused.value).startswith(told)


def test_a_bandit_learns_from_what_readers_do() -> None:
    assert check_design(yaml_document(BANDIT), default_config()).metric == "reads_per_reader"
    with pytest.raises(ConfigError, match="a bandit learns from one of the metrics ctr"):
        check_design(yaml_document(BANDIT.replace("reads_per_reader", "depth")), default_config())


def test_a_document_has_the_name_of_its_address() -> None:
    assert named(Document({"arms": {}}), "a").body == {"name": "a", "arms": {}}
    with pytest.raises(ConfigError, match="name: must be 'b'"):
        named(Document({"name": "a"}), "b")


def test_shares_sum_to_one() -> None:
    arms = {"a": None, "b": "latest", "c": "popular"}
    allocation = {"type": "fixed", "shares": {"a": 2, "b": 1, "c": 1}}
    assert first_shares(design_of(arms=arms, allocation=allocation)) == {"a": 0.5, "b": 0.25, "c": 0.25}
    with pytest.raises(ValueError, match="the shares must name the arms: a, b, c"):
        design_of(arms=arms, allocation={"type": "fixed", "shares": {"a": 1}})


@given(st.lists(st.integers(0, BUCKETS - 1), unique=True))
def test_ranges_hold_their_buckets_in_order(buckets: list[int]) -> None:
    assert members(ranges_of(buckets)) == buckets


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 400)), max_size=12))
def test_experiments_of_a_layer_never_overlap_and_keep_who_is_in(steps: list[tuple[int, int]]) -> None:
    held: dict[int, Any] = {number: () for number in range(4)}
    for number, size in steps:
        others = [ranges for other, ranges in held.items() if other != number]
        free = BUCKETS - sum(len(members(ranges)) for ranges in others)
        before = members(held[number])
        if size > free:
            with pytest.raises(ConflictError, match="is free, and"):
                resized(held[number], others, size)
            continue
        held[number] = resized(held[number], others, size)
        after = members(held[number])
        assert len(after) == size
        assert after[: len(before)] == before[:size]
        taken = [bucket for ranges in held.values() for bucket in members(ranges)]
        assert len(taken) == len(set(taken))
