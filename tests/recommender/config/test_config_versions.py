"""Versions: what was applied is what is shown, in every process; nothing holds by halves."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete, func, insert, select
from tests.recommender.config_documents import documents

from nearfeed_backends.opening import open_database
from nearfeed_contracts.errors import NotFoundError
from nearfeed_contracts.tables import config_entries, config_versions
from nearfeed_recommender.config import versions
from nearfeed_recommender.config.checks import default_config, parse_config
from nearfeed_recommender.config.document import Document
from nearfeed_recommender.config.editor import ConfigStore, apply_document, delete_entry, put_entry, roll_back
from nearfeed_recommender.config.entries import Entry, changes_between
from nearfeed_recommender.config.faults import ConfigError, StaleVersionError
from nearfeed_recommender.config.live import LiveConfig
from nearfeed_recommender.config.operations import config_operations
from nearfeed_recommender.config.schema import document_of
from nearfeed_recommender.config.versions import (
    Applied,
    Statement,
    entry_versions,
    history,
    newest_version,
    store_version,
    version_of,
)
from nearfeed_runtime.operations import Said
from nearfeed_runtime.sql import read_connection, write_transaction

ANN = Statement(author="Ann", reason="a test")
fast = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def engine(tmp_path: Path, database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url or f"sqlite:///{tmp_path}/nearfeed.db")
    yield engine
    engine.dispose()


@pytest.fixture
def served(engine: Engine, tmp_path: Path) -> ConfigStore:
    return ConfigStore(engine, f"file://{tmp_path}/runs", LiveConfig(engine, default_config()))


def forget(engine: Engine) -> None:
    with write_transaction(engine) as transaction:
        for table in (config_versions, config_entries):
            transaction.execute(delete(table))


def newest(engine: Engine) -> versions.ConfigVersion:
    with read_connection(engine) as connection:
        return newest_version(connection)


def changed(document: dict[str, Any], *, limit: int) -> dict[str, Any]:
    """The default with another limit."""
    document["providers"]["latest"]["sources"]["latest"]["limit"] = limit
    return document


def with_limit(limit: int) -> Document:
    return Document(changed(document_of(default_config()), limit=limit))


def shown(served: ConfigStore, version: int | None = None) -> str:
    (step,) = config_operations(served)["config.show"](version=version)
    assert isinstance(step, Said)
    return step.text


@fast
@given(st.lists(documents(), min_size=1, max_size=4))
def test_a_history_of_applied_documents(engine: Engine, applied: list[dict[str, Any]]) -> None:
    forget(engine)
    live = LiveConfig(engine, default_config())
    kept = [document_of(default_config())]
    for document in applied:
        before = kept[-1]
        told = store_version(engine, parse_config(document), ANN)
        assert told.changes == changes_between(before, document)
        kept += [document] if told.changes else []
        assert told.version == len(kept) - 1
        assert live.refresh() == bool(told.changes)
        assert (live.current.version, live.current.config) == (told.version, parse_config(kept[-1]))
    with read_connection(engine) as connection:
        past = history(connection, None, 10)
        assert [version.version for version, _ in past] == list(reversed(range(len(kept))))
        for version, changes in past:
            assert version_of(connection, version.version).document == kept[version.version]
            older = kept[version.version - 1] if version.version else {}
            assert changes == changes_between(older, kept[version.version])
        for page in range(1, len(kept)):
            assert history(connection, page, 10) == past[-page:]
        assert history(connection, None, 1) == past[:1]
    _each_entry_has_its_versions(engine, kept)


def _each_entry_has_its_versions(engine: Engine, kept: list[dict[str, Any]]) -> None:
    """Read from its rows alone, an entry is in each version what the whole document says."""
    sections = {kind: f"{kind}s" for kind in ("page", "provider", "model", "relation")}
    entries = {(kind, name) for kind in sections for body in kept for name in body.get(sections[kind], {})}
    for kind, name in entries:
        with read_connection(engine) as connection:
            rows = entry_versions(connection, Entry(kind, name))
        for version, body in enumerate(kept):
            by_then = [row.document for row in rows if row.version <= version]
            assert (by_then[0] if by_then else None) == body.get(sections[kind], {}).get(name)


@fast
@given(documents(), documents())
def test_changes_are_those_of_a_plain_comparison(old: dict[str, Any], new: dict[str, Any]) -> None:
    expected = set()
    for kind in ("page", "provider", "model", "relation"):
        before, after = old[f"{kind}s"], new[f"{kind}s"]
        for name in before.keys() | after.keys():
            if name not in before or name not in after:
                expected.add((kind, name, "added" if name in after else "removed"))
            elif repr(before[name]) != repr(after[name]):
                expected.add((kind, name, "changed"))
    if old["feed"] != new["feed"]:
        expected.add(("feed", new["feed"], "changed"))
    found = changes_between(old, new)
    assert {tuple(change) for change in found} == expected
    assert len(found) == len(expected)
    assert changes_between(new, dict(reversed(new.items()))) == ()


def test_what_is_shown_can_be_applied_and_changes_nothing(served: ConfigStore) -> None:
    apply = config_operations(served)["config.apply"]
    for version in range(3):
        steps = list(apply(text=shown(served), author="Ann", reason="again"))
        assert steps == [Said(f"Nothing changes: version {version} says the same.")]
        apply_document(served, with_limit(version + 1), ANN)


def test_back_and_back_again(served: ConfigStore) -> None:
    apply_document(served, with_limit(7), ANN)
    assert roll_back(served, 0, Statement(author="Bob", reason="too few")).version == 2
    assert newest(served.engine).document == document_of(default_config())
    assert (newest(served.engine).author, newest(served.engine).reason) == ("Bob", "too few")
    assert roll_back(served, 1, ANN).version == 3
    assert newest(served.engine).document == with_limit(7).body
    assert roll_back(served, 3, ANN) == Applied(3, ())
    with pytest.raises(NotFoundError, match="from 0 to 3"):
        roll_back(served, 9, ANN)


def test_a_refused_document_changes_nothing(served: ConfigStore) -> None:
    apply_document(served, with_limit(7), ANN)
    before = newest(served.engine)
    bad = with_limit(8)
    bad.body["feed"] = "nowhere"
    with pytest.raises(ConfigError):
        apply_document(served, bad, ANN)
    with pytest.raises(ConfigError, match="r-none"):
        put_entry(served, Entry("model", "walk"), Document({"kind": "graph", "run": "r-none"}), ANN)
    assert newest(served.engine) == before
    assert served.live.current.version == 1
    with read_connection(served.engine) as connection:
        assert connection.scalar(select(func.max(config_entries.c.version))) == 1


def test_a_version_may_be_made_a_condition(served: ConfigStore) -> None:
    apply_document(served, with_limit(1), ANN, 0)
    with pytest.raises(StaleVersionError, match="and not 0"):
        apply_document(served, with_limit(2), ANN, 0)
    with pytest.raises(StaleVersionError):
        delete_entry(served, Entry("page", "home"), ANN, 0)
    assert newest(served.engine).document == with_limit(1).body


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What the calls return or raise, begun at the same moment."""
    results: list[Any] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(place: int, call: Callable[[], Any]) -> None:
        start.wait()
        try:
            results[place] = call()
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_two_at_once_both_hold_one_after_the_other(served: ConfigStore) -> None:
    calls = [lambda n=n: apply_document(served, with_limit(n + 1), ANN) for n in range(4)]
    results = at_once(*calls)
    assert sorted(result.version for result in results) == [1, 2, 3, 4]
    last = max(range(4), key=lambda n: results[n].version)
    assert newest(served.engine).document == with_limit(last + 1).body


def test_of_two_on_the_same_version_one_is_refused(served: ConfigStore) -> None:
    results = at_once(*[lambda n=n: apply_document(served, with_limit(n + 1), ANN, 0) for n in range(2)])
    assert {type(result) for result in results} == {Applied, StaleVersionError}
    assert newest(served.engine).version == 1


def test_of_two_entries_at_once_none_is_lost(served: ConfigStore) -> None:
    page = {"sections": [{"name": "s", "title": "S", "provider": "latest"}]}
    entries = [Entry("page", f"p{number}") for number in range(4)]
    results = at_once(*[lambda e=entry: put_entry(served, e, Document(page), ANN) for entry in entries])
    assert [type(result) for result in results] == [Applied] * 4, results
    assert {"home", *(entry.name for entry in entries)} == newest(served.engine).document["pages"].keys()


def test_a_number_that_another_has_just_taken_is_no_fault(
    served: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = newest(served.engine)
    apply_document(served, with_limit(1), ANN)
    read = versions.newest_version
    answers = iter([former])
    monkeypatch.setattr(
        versions, "newest_version", lambda connection: next(answers, None) or read(connection)
    )
    assert store_version(served.engine, parse_config(with_limit(2).body), ANN).version == 2


def test_a_commit_whose_answer_was_lost_is_told_as_it_was(
    served: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(engine: Engine, work: Callable[[Connection], Any]) -> Any:
        for _ in range(2):
            with write_transaction(engine) as transaction:
                result = work(transaction)
        return result

    monkeypatch.setattr(versions, "committed", twice)
    for expected in (0, 1, None):
        applied = store_version(
            served.engine, parse_config(with_limit((expected or 5) + 1).body), ANN, expected=expected
        )
        assert [change.name for change in applied.changes] == ["latest"]
    assert newest(served.engine).version == 3


def test_every_process_sees_a_change_when_it_looks(served: ConfigStore, engine: Engine) -> None:
    others = [LiveConfig(engine, default_config()) for _ in range(2)]
    assert [other.refresh() for other in others] == [False, False]
    apply_document(served, with_limit(3), ANN)
    assert [other.current.version for other in others] == [0, 0]
    assert [other.refresh() for other in others] == [True, True]
    assert [other.current for other in others] == [served.live.current] * 2
    assert others[0].current.changed_at == newest(engine).created_at
    assert [other.refresh() for other in others] == [False, False]


@pytest.mark.parametrize("document", ['{"feed": "p", "dreams": {}}', "{", "[]", "null"])
def test_a_version_of_a_newer_release_leaves_what_is_served(
    served: ConfigStore, engine: Engine, document: str
) -> None:
    apply_document(served, with_limit(3), ANN)
    held = served.live.current
    with write_transaction(engine) as transaction:
        row = {"version": 2, "author": "x", "reason": "y", "created_at": 1, "document": document}
        transaction.execute(insert(config_versions).values(**row))
    assert not served.live.refresh()
    assert served.live.current == held
    started_later = LiveConfig(engine, default_config())
    assert started_later.refresh()
    assert started_later.current == held
    with write_transaction(engine) as transaction:
        row["version"], row["document"] = (
            3,
            '{"feed": "p", "providers": {"p": {"sources": {"s": {"type": "latest"}}}}}',
        )
        transaction.execute(insert(config_versions).values(**row))
    assert served.live.refresh()
    assert served.live.current.version == 3


def test_a_database_that_was_set_back_is_followed(served: ConfigStore, engine: Engine) -> None:
    apply_document(served, with_limit(3), ANN)
    forget(engine)
    assert served.live.refresh()
    assert (served.live.current.version, served.live.current.config) == (0, default_config())
