from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import Engine
from tests.embedder.taste import make_dataset

from nearfeed_contracts.runs import list_runs
from nearfeed_core.ranking_inputs import reader_of
from nearfeed_embedder.dataset import Dataset, profile
from nearfeed_embedder.operations import train_run
from nearfeed_embedder.rankers.catalogue import Catalogue, read_catalogue
from nearfeed_embedder.rankers.examples import DAY_MICROS, TooFewExamplesError
from nearfeed_embedder.rankers.replay import (
    History,
    ReplayRule,
    Request,
    UnknownSourceError,
    replay,
    replayed,
    requests_between,
    sampled,
)
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import finish

DAY = DAY_MICROS
RULE = ReplayRule(sources=("popular", "item-knn", "latest"), requests=40, negatives=None)


@pytest.fixture(scope="module")
def history() -> History:
    return history_of(make_dataset(readers=30, posts=60, each=20))


def test_groups_are_the_same_whatever_comes_after_the_moment_but_for_the_grades(history: History) -> None:
    """What a reader, or anybody, did later changes no candidate and no input."""
    readings = history.readings
    requests = requests_between(readings, 50 * DAY, 60 * DAY, RULE, np.random.default_rng(0))
    for request in requests[:5]:
        before = history.dataset.before(request.served_at)
        known = replace(request, past=rows_before(before, readings, request), targets=np.empty(0, np.intp))
        (whole,) = replayed(history, 50 * DAY, [request], RULE)
        (cut,) = replayed(history_of(before), 50 * DAY, [known], RULE)
        assert whole.reader == cut.reader
        assert whole.posts == cut.posts
        assert not cut.grades.any()


def test_a_group_has_the_inputs_of_its_moment(history: History) -> None:
    readings = history.readings
    requests = requests_between(readings, 50 * DAY, 60 * DAY, RULE, np.random.default_rng(0))
    groups = list(replayed(history, 50 * DAY, requests, RULE))
    assert len(groups) == len(requests) == 40
    for request, group in zip(requests, groups, strict=True):
        at, row = request.served_at, request.past[0]
        own = (readings.reader == readings.reader[row]) & (readings.time < at)
        assert sorted(request.past) == np.flatnonzero(own).tolist()
        items, weights = profile(readings, request.past, history.dataset.half_life_days)
        assert group.reader == reader_of(at, history.catalogue.weighed(items, weights))
        read_before = {history.dataset.posts[item].item_id for item in readings.item[own]}
        read_next = (readings.reader == readings.reader[row]) & (readings.time >= at)
        read_next &= readings.time < at + 7 * DAY
        targets = {history.dataset.posts[item].item_id for item in readings.item[read_next]}
        for shown, grade in zip(group.posts, group.grades, strict=True):
            assert shown.item_id not in read_before
            assert shown.published_at <= at
            assert (grade > 0) == (shown.item_id in targets)
            number = int(shown.item_id[1:])
            recent = (readings.item == number) & (readings.time < at) & (readings.time >= at - 30 * DAY)
            assert shown.readers == recent.sum()
            assert set(shown.ranks) <= set(RULE.sources)


def test_ranks_are_those_of_the_sources(history: History) -> None:
    readings = history.readings
    requests = requests_between(readings, 50 * DAY, 60 * DAY, RULE, np.random.default_rng(1))
    for group in replayed(history, 50 * DAY, requests[:5], RULE):
        newest = sorted(
            (shown for shown in group.posts if "latest" in shown.ranks),
            key=lambda shown: shown.ranks["latest"],
        )
        times = [shown.published_at for shown in newest]
        assert times == sorted(times, reverse=True)
        popular = sorted(
            (shown for shown in group.posts if "popular" in shown.ranks),
            key=lambda shown: shown.ranks["popular"],
        )
        counts = [shown.readers for shown in popular]
        assert counts == sorted(counts, reverse=True)


def test_sampling_keeps_all_that_was_read_and_the_order(history: History) -> None:
    rng = np.random.default_rng(0)
    requests = requests_between(history.readings, 50 * DAY, 60 * DAY, RULE, rng)
    for group in replayed(history, 50 * DAY, requests[:10], RULE):
        few = sampled(group, replace(RULE, negatives=5), rng)
        assert (few.grades > 0).sum() == (group.grades > 0).sum()
        assert (few.grades == 0).sum() == 5
        places = [group.posts.index(shown) for shown in few.posts]
        assert places == sorted(places)
        assert np.array_equal(few.grades, group.grades[places])


def test_readings_of_others_may_be_known_up_to_the_window_alone(history: History) -> None:
    rng = np.random.default_rng(0)
    requests = requests_between(history.readings, 50 * DAY, 60 * DAY, replace(RULE, live=False), rng)
    readings = history.readings
    (group,) = replayed(history, 50 * DAY, requests[-1:], RULE)
    for shown in group.posts:
        number = int(shown.item_id[1:])
        recent = (readings.item == number) & (readings.time < 50 * DAY) & (readings.time >= 20 * DAY)
        assert shown.readers == recent.sum()


@pytest.mark.parametrize("source", ["als", "youtube-dnn"])
def test_a_replay_with_a_model_gives_groups_that_tell_something(source: str, history: History) -> None:
    rule = ReplayRule(sources=("popular", source), requests=10, negatives=10)
    groups = finish(replay(history, rule))
    assert any(group.tells for group in groups)
    assert all((group.grades == 0).sum() <= 10 for group in groups)
    assert {name for group in groups for shown in group.posts for name in shown.ranks} == set(rule.sources)


@pytest.mark.parametrize("name", ["lambdamart", "deepfm"])
def test_one_command_trains_a_ranker_from_history(name: str, filled: Engine, tmp_path) -> None:
    settings = EmbedderSettings(data_dir=tmp_path, device="cpu")
    asked = f"{name}:from_history=true,sources=popular+item-knn,requests=60"
    list(train_run(settings, filled, model=asked, until="1970-03-01T00:00:00"))
    (run,) = list_runs(settings.runs_url)
    assert run.manifest.kind == "ranker"
    assert run.manifest.model == name
    assert run.manifest.data.last is not None
    assert run.manifest.data.last.timestamp() < 59 * 86_400
    metrics = run.manifest.metrics
    assert set(metrics["models"]) == {name, "order as served", "popularity"}
    assert metrics["models"][name]["auc"]["mean"] > 0.5


def test_what_a_ranker_lacks_is_told(filled: Engine, tmp_path) -> None:
    settings = EmbedderSettings(data_dir=tmp_path, device="cpu")
    with pytest.raises(TooFewExamplesError, match=r"0 of 0 are such: serve more, or train on past readings"):
        list(train_run(settings, filled, model="lambdamart"))
    with pytest.raises(UnknownSourceError, match="'follow' is none of a replay's sources popular, item-knn"):
        list(train_run(settings, filled, model="fm:from_history=1,sources=als+follow"))


def test_a_catalogue_is_read_from_sql(filled: Engine) -> None:
    dataset = make_dataset()
    catalogue = read_catalogue(filled, dataset)
    assert set(catalogue.authors) == {"author"}
    assert set(catalogue.published.tolist()) == {DAY}


def history_of(dataset: Dataset) -> History:
    number = len(dataset.posts)
    published = np.arange(number, dtype=np.int64) * DAY
    return History(dataset, Catalogue(dataset.posts, [f"a{row % 5}" for row in range(number)], published))


def rows_before(before: Dataset, readings, request: Request) -> np.ndarray:
    return np.flatnonzero(before.readings.reader == readings.reader[request.past[0]])
