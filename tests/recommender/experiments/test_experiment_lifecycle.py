"""Experiments in SQL: what may follow what, one layer at a target, and what other processes see."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select
from tests.recommender.experiment_designs import SAID, design_of, started

from nearfeed_contracts.errors import ConflictError, NotFoundError
from nearfeed_contracts.tables import audit
from nearfeed_recommender.config.checks import default_config
from nearfeed_recommender.config.document import Document
from nearfeed_recommender.config.editor import apply_document
from nearfeed_recommender.config.faults import ConfigError
from nearfeed_recommender.config.schema import document_of
from nearfeed_recommender.experiments.lifecycle import (
    ExperimentStore,
    put_draft,
    ramp,
    set_learned,
    start,
    stop,
    stop_arm,
)
from nearfeed_recommender.experiments.live import LiveExperiments
from nearfeed_recommender.experiments.records import experiment_of
from nearfeed_recommender.experiments.schema import FEED_PLACE
from nearfeed_runtime.sql import read_connection


@pytest.fixture
def store(world: Any) -> ExperimentStore:
    found: ExperimentStore = world.client.app.state.context.experiments
    return found


def test_a_draft_is_changed_until_it_is_started(store: ExperimentStore) -> None:
    first = put_draft(store, design_of(), SAID)
    assert (first.state, first.number, first.revision) == ("draft", 1, 1)
    assert put_draft(store, design_of(), SAID) == first
    second = put_draft(store, design_of(traffic=0.1), SAID)
    assert (second.number, second.revision) == (1, 2)
    running = start(store, "trial", SAID)
    assert (running.state, running.traffic.size) == ("running", 100)
    assert running.traffic.shares == {"control": 0.5, "latest": 0.5}
    with read_connection(store.engine) as connection:
        assert experiment_of(connection, "trial") == running
        told = connection.execute(select(audit.c.actor, audit.c.action, audit.c.target)).all()
    assert [tuple(row) for row in told] == [
        ("Ann", "experiments.draft", "trial"),
        ("Ann", "experiments.change", "trial"),
        ("Ann", "experiments.start", "trial"),
    ]


@pytest.mark.parametrize(
    ("state", "change", "told"),
    [
        ("draft", lambda store: ramp(store, "trial", 0.5, SAID), "is a draft: a running experiment alone"),
        ("draft", lambda store: stop_arm(store, "trial", "latest", SAID), "is a draft: an arm of a running"),
        ("running", lambda store: put_draft(store, design_of(traffic=0.5), SAID), "its design stands"),
        ("running", lambda store: start(store, "trial", SAID), "is running: a draft alone can be started"),
        ("running", lambda store: stop_arm(store, "trial", "control", SAID), "is the control of experiment"),
        ("running", lambda store: stop_arm(store, "trial", "none", SAID), "has no arm 'none'; arms: control"),
        ("running", lambda store: stop(store, "trial", SAID, "none"), "has no arm 'none'; arms: control"),
        ("stopped", lambda store: start(store, "trial", SAID), "is stopped: a draft alone can be started"),
        ("stopped", lambda store: ramp(store, "trial", 0.5, SAID), "is stopped: a running experiment alone"),
        ("stopped", lambda store: stop(store, "trial", SAID), "has been stopped: a test."),
    ],
)
def test_what_may_not_follow_is_refused(
    store: ExperimentStore, state: str, change: Callable[[ExperimentStore], object], told: str
) -> None:
    put_draft(store, design_of(), SAID)
    if state != "draft":
        start(store, "trial", SAID)
    if state == "stopped":
        stop(store, "trial", SAID)
    with pytest.raises(ConflictError, match=told):
        change(store)


def test_an_unknown_experiment_is_told_with_those_that_there_are(store: ExperimentStore) -> None:
    put_draft(store, design_of(), SAID)
    with pytest.raises(NotFoundError, match="There is no experiment 'trail'; experiments: trial"):
        start(store, "trail", SAID)


def test_experiments_at_a_target_share_a_layer_and_its_buckets(store: ExperimentStore) -> None:
    started(store, "a", traffic=0.6)
    put_draft(store, design_of("b", layer="other", traffic=0.3), SAID)
    with pytest.raises(ConflictError, match="'a' runs at feed in layer 'feed': give this one the same"):
        start(store, "b", SAID)
    started(store, "c", traffic=0.4)
    with pytest.raises(ConflictError, match=r"Of this layer 60\.0% is free, and 60\.1% is asked for"):
        ramp(store, "a", 0.601, SAID)
    buckets = store.live.current.layers[FEED_PLACE].buckets
    assert [sum(each is not None and each.name == name for each in buckets) for name in "ac"] == [600, 400]
    ramp(store, "a", 0.5, SAID)
    ramp(store, "c", 0.5, SAID)
    stop(store, "a", SAID)
    assert ramp(store, "c", 1.0, SAID).traffic.size == 1_000


def test_the_last_arm_ends_the_experiment(store: ExperimentStore) -> None:
    arms = {"control": None, "latest": "latest", "popular": "popular"}
    started(store, arms=arms)
    assert stop_arm(store, "trial", "latest", SAID).state == "running"
    ended = stop_arm(store, "trial", "popular", SAID)
    assert (ended.state, ended.stop_reason, ended.live_arms) == ("stopped", "a test", ("control",))


def test_another_process_sees_each_change(store: ExperimentStore) -> None:
    other = LiveExperiments(store.engine)
    assert other.refresh() is False
    started(store)
    assert other.refresh() is True
    assert other.refresh() is False
    assert other.current == store.live.current
    set_learned(store, "trial", {"control": 0.2, "latest": 0.8}, {})
    assert other.refresh() is True
    experiment = other.current.layers[FEED_PLACE].buckets[0]
    assert experiment is not None
    assert experiment.traffic.shares["latest"] == 0.8
    stop(store, "trial", SAID)
    assert other.refresh() is True
    assert other.current.layers == {}


def test_a_provider_that_a_running_experiment_asks_stays(store: ExperimentStore) -> None:
    document = document_of(default_config())
    document["providers"]["mine"] = {"sources": {"latest": {"type": "latest"}}}
    document["pages"]["top"] = {"sections": [{"name": "s", "title": "S", "provider": "latest"}]}
    apply_document(store.configuration, Document(document), SAID)
    target = {"page": "top", "section": "s"}
    started(store, target=target, arms={"control": None, "mine": "mine"})
    with pytest.raises(ConfigError) as refused:
        apply_document(store.configuration, Document(document_of(default_config())), SAID)
    told = str(refused.value)
    assert "providers.mine: is missing, and arm 'mine' of the running experiment 'trial'" in told
    assert "pages.top: has no section 's', at which the running experiment 'trial'" in told
    stop(store, "trial", SAID)
    apply_document(store.configuration, Document(document_of(default_config())), SAID)
    put_draft(store, design_of("again", arms={"control": None, "mine": "mine"}), SAID)
    with pytest.raises(ConfigError, match=r"experiment again: arms\.mine: there is no provider 'mine'"):
        start(store, "again", SAID)


def test_changes_at_once_each_have_a_number_and_a_revision(store: ExperimentStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: put_draft(store, design_of(f"trial-{n}"), SAID), range(4)))
    assert sorted(each.number for each in made) == [1, 2, 3, 4]
    assert sorted(each.revision for each in made) == [1, 2, 3, 4]
