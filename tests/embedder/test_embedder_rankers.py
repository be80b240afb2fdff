from collections.abc import Sequence

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.pool import StaticPool
from tests.served_inputs import SERVED, post, reader

from nearfeed_contracts.tables import interactions, metadata, served_items, served_requests
from nearfeed_core.ranking_features import Featuriser, Served, fit_spec
from nearfeed_core.readings import WeightRule
from nearfeed_embedder.rankers.examples import DAY_MICROS, Group, TooFewExamplesError, parts_by_time, table_of
from nearfeed_embedder.rankers.ledger import ANSWER_MICROS, read_ledger
from nearfeed_embedder.rankers.measures import auc, given_order, measured
from nearfeed_embedder.stages import finish

DAY = DAY_MICROS
LATER = 4_000_000_000_000_000
RULE = WeightRule()


@pytest.fixture(scope="module")
def engine() -> Engine:
    from sqlalchemy import create_engine

    made = create_engine("sqlite://", poolclass=StaticPool)
    metadata.create_all(made, tables=[interactions, served_requests, served_items])
    return made


@given(st.lists(SERVED, min_size=1, max_size=3))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_training_has_the_features_that_were_served_bit_for_bit(
    engine: Engine, sections: list[Served]
) -> None:
    empty(engine)
    for number, (of_reader, posts) in enumerate(sections):
        put_served(engine, f"r{number}", "u", of_reader.served_at, of_reader, posts)
    maker = Featuriser(fit_spec(sections))
    groups = finish(read_ledger(engine, RULE, until=LATER))
    order = sorted(range(len(sections)), key=lambda row: (sections[row][0].served_at, row))
    assert [group.reader for group in groups] == [sections[row][0] for row in order]
    learned = table_of(groups, maker, positions=False).features
    served = [maker.features(*sections[row]) for row in order]
    assert learned.dense.tobytes() == b"".join(of.dense.tobytes() for of in served)
    assert learned.categories.tobytes() == b"".join(of.categories.tobytes() for of in served)


def test_a_grade_is_what_was_done_within_the_window_after_it_was_served(engine: Engine) -> None:
    empty(engine)
    shown = [post(item, "c", "a", 0) for item in ("in", "before", "late", "undone", "low", "twice", "none")]
    put_served(engine, "r", "u", 10 * DAY, reader(10 * DAY), shown)
    put_reading(engine, "u", "in", read_at=10 * DAY)
    put_reading(engine, "u", "before", read_at=10 * DAY - 1)
    put_reading(engine, "u", "late", read_at=17 * DAY + 1)
    put_reading(engine, "u", "undone", read_at=11 * DAY, like_at=11 * DAY, unlike_at=11 * DAY)
    put_reading(engine, "u", "low", read_at=11 * DAY, rating_at=11 * DAY, rating_value=1.0)
    put_reading(engine, "u", "twice", click_at=11 * DAY, save_at=17 * DAY)
    put_reading(engine, "other", "none", read_at=11 * DAY)
    (group,) = finish(read_ledger(engine, RULE, until=LATER))
    assert group.grades.tolist() == [1.0, 0.0, 0.0, 1.0, 0.0, 2.5, 0.0]
    assert group.positions == tuple(range(7))
    (early,) = finish(read_ledger(engine, RULE, until=12 * DAY))
    assert early.grades.tolist() == [1.0, 0.0, 0.0, 1.0, 0.0, 0.5, 0.0]
    assert finish(read_ledger(engine, RULE, until=10 * DAY + ANSWER_MICROS)) == []


def test_a_position_counts_in_training_and_is_the_first_in_serving() -> None:
    posts = (post("p", "a", "ann", 0), post("q", "a", "ann", 0))
    group = Group(reader(), posts, (4, 9), np.array([0, 1], np.float32))
    maker = Featuriser(fit_spec([(group.reader, posts)]))
    learned, served = (table_of([group], maker, positions=given).features for given in (True, False))
    assert learned.dense[:, -1] == pytest.approx(np.log([5, 10]))
    assert not served.dense[:, -1].any()
    assert np.array_equal(learned.dense[:, :-1], served.dense[:, :-1])


def test_parts_follow_each_other_in_time_and_hold_what_tells_something() -> None:
    groups = [group_at(moment, [1, 0]) for moment in np.random.default_rng(0).permutation(20)]
    parts = parts_by_time([*groups, group_at(30, [0, 0]), group_at(31, [1, 1])])
    times = [[group.reader.served_at for group in part] for part in (parts.train, parts.valid, parts.test)]
    assert times == [list(range(14)), list(range(14, 17)), list(range(17, 20))]
    with pytest.raises(TooFewExamplesError, match="2 of 4 are such"):
        parts_by_time([*groups[:2], group_at(30, [0, 0]), group_at(31, [1, 1])])


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.booleans()), min_size=2, max_size=9))
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[float, bool]]) -> None:
    scores, read = np.array([row[0] for row in rows], np.float32), np.array([row[1] for row in rows])
    pairs = [
        1.0 if one > other else 0.5 if one == other else 0.0
        for one, is_read in rows
        if is_read
        for other, other_read in rows
        if not other_read
    ]
    if pairs:
        assert auc(scores, read) == pytest.approx(sum(pairs) / len(pairs))


def test_measures_of_groups_of_any_size() -> None:
    groups = [group_at(0, [0, 1, 0]), group_at(1, [1] + [0] * 30 + [1])]
    table = table_of(groups, Featuriser(fit_spec([(groups[0].reader, groups[0].posts)])), positions=False)
    found = measured(given_order(groups), table)
    assert found["recall@20"].tolist() == [1.0, 0.5]
    assert found["ndcg@20"][0] == pytest.approx(1 / np.log2(3))
    assert found["auc"].tolist() == [0.5, 0.5]


def group_at(moment: int, grades: Sequence[float]) -> Group:
    posts = tuple(post(f"p{number}", "a", "ann", 0) for number in range(len(grades)))
    return Group(reader(int(moment)), posts, tuple(range(len(posts))), np.array(grades, np.float32))


def empty(engine: Engine) -> None:
    with engine.begin() as transaction:
        for table in (served_items, served_requests, interactions):
            transaction.execute(table.delete())


def put_served(engine: Engine, request_id: str, user_id: str, served_at: int, of_reader, posts) -> None:
    key = {"request_id": request_id, "section": "for-you"}
    request = key | {"user_id": user_id, "served_at": served_at, "provider": "p", "config_version": 1}
    rows = [
        key
        | {"position": place, "item_id": of.item_id, "source": "s", "score": 0.0}
        | {"inputs": orjson.dumps(of.to_json()).decode()}
        for place, of in enumerate(posts)
    ]
    with engine.begin() as transaction:
        told = orjson.dumps(of_reader.to_json()).decode()
        transaction.execute(served_requests.insert().values(**request, reader=told))
        transaction.execute(served_items.insert(), rows)


def put_reading(engine: Engine, user_id: str, item_id: str, **told: float) -> None:
    with engine.begin() as transaction:
        transaction.execute(interactions.insert().values(user_id=user_id, item_id=item_id, **told))
