"""A post that is edited while it is looked at gets values that are new to the columns; no stage fails."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.recommender.users.audiences import empty_state

from nearfeed_backends.opening import open_database
from nearfeed_contracts.fields import now_micros
from nearfeed_recommender.catalog import columns as columns_module
from nearfeed_recommender.catalog.columns import Columns, PostFacts
from nearfeed_recommender.config.schema import FollowedSource, FormulaRanking, NewcomersSource
from nearfeed_recommender.pipeline.candidates import Candidates, nothing
from nearfeed_recommender.pipeline.new_creators import NewCreators
from nearfeed_recommender.pipeline.query import Query
from nearfeed_recommender.pipeline.rank import ByFormula
from nearfeed_recommender.pipeline.sources.recent import Followed
from nearfeed_recommender.users.eligibility import Wish
from nearfeed_recommender.users.memberships import Controls

BEFORE = [PostFacts(f"p{number}", 1, "c0", "a0", (), None, number) for number in range(3)]
AFTER = PostFacts("p1", 2, "c1", "a1", ("new",), "en", 1)


class NobodyYet:
    """Popularity of posts that nobody has read."""

    def users_of(self, rows: np.ndarray) -> np.ndarray:
        return np.zeros(len(rows), np.int32)


@pytest.fixture
def query() -> Query:
    columns = Columns()
    columns.put(BEFORE)
    state = replace(empty_state(columns), controls=Controls(followed=frozenset(["a0", "a1"])))
    return Query(state, Wish(), None, 10)


def edit_after(monkeypatch: pytest.MonkeyPatch, query: Query, owner: object, name: str) -> None:
    """Edits a post once, right after a function was called."""
    work: Callable[..., object] = getattr(owner, name)
    edits = [AFTER]

    def edited(*arguments: object, **named: object) -> object:
        made = work(*arguments, **named)
        while edits:
            query.columns.put([edits.pop()])
        return made

    monkeypatch.setattr(owner, name, edited)


def test_posts_of_followed_authors(query: Query, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_after(monkeypatch, query, columns_module.Codes, "members")
    source = Followed(FollowedSource(type="followed"))
    found = source.fetch(query, query.eligibility(()))
    assert query.columns.version[1] == 2
    assert [query.columns.ids[row] for row in found.rows.tolist()] == ["p2", "p1", "p0"]


def test_a_formula(query: Query, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.arange(3, dtype=np.int32)
    shape = (1, 3)
    candidates: Candidates = replace(
        nothing(["near"]),
        rows=rows,
        scores=np.array([1.0, 2.0, 3.0]),
        source=np.zeros(3, np.int32),
        ranks=np.ones(shape, np.int32),
        source_scores=np.ones(shape),
    )
    spec = FormulaRanking(type="formula", formula="score + affinity")
    ranking = ByFormula(spec, ["near"], NobodyYet())  # type: ignore[arg-type]
    edit_after(monkeypatch, query, columns_module.Codes, "__len__")
    ordered = ranking.order(query, candidates)
    assert query.columns.version[1] == 2
    assert ordered.candidates.rows.tolist() == [2, 1, 0]


def test_posts_of_new_creators(query: Query, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/nearfeed.db")
    creators = NewCreators(engine, query.columns)
    edit_after(monkeypatch, query, np, "bincount")
    spec = NewcomersSource(type="newcomers", hours=24 * 366, posts=3)
    query.columns.put([post._replace(version=1, published_at=now_micros()) for post in BEFORE])
    found = creators.ranked(spec)
    engine.dispose()
    assert query.columns.version[1] == 2
    assert sorted(query.columns.ids[row] for row in found.tolist()) == ["p0", "p1", "p2"]
