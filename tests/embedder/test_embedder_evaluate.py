"""`evaluate` as a user gives it: sources, models, tables and the CSV."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import sparse
from sqlalchemy import Engine
from tests.embedder.taste import make_posts, make_readings

from nearfeed_contracts.runs import Block, DataWindow, Manifest, Run, open_run, write_manifest, write_vectors
from nearfeed_core.readings import DAY_MICROS, WeightRule
from nearfeed_embedder.bootstrap import bootstrap
from nearfeed_embedder.comparison.files import DataFileError, read_files
from nearfeed_embedder.comparison.lists import SplitFileError, read_lists
from nearfeed_embedder.comparison.models import UnfitModelError, UnknownModelError, baseline_of
from nearfeed_embedder.comparison.operation import evaluate
from nearfeed_embedder.comparison.report import COLUMNS
from nearfeed_embedder.comparison.runs import LeakyRunError, scorer_of_run
from nearfeed_embedder.comparison.sources import SplitError
from nearfeed_embedder.evaluation.ranking import NAMES, rank
from nearfeed_embedder.evaluation.slices import AMONG_NEW_POSTS, NEW_POSTS, reader_slices
from nearfeed_embedder.evaluation.split import Split
from nearfeed_embedder.load import read_dataset
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stages import finish
from nearfeed_runtime.operations import Listed, Said, Step

BY_TIME = {"least_later": 4}


@pytest.fixture
def settings(tmp_path: Path, tiny_text_model: str) -> EmbedderSettings:
    return EmbedderSettings(data_dir=tmp_path, text_model=tiny_text_model, device="cpu")


@pytest.fixture
def lists(tmp_path: Path) -> dict[str, str]:
    """Three readers; the second has nothing to learn from, the third nothing in test."""
    parts = {
        "train": "r1 10 2 30\nr2\nr3 2 40\n",
        "valid": "r1 40\nr2 2\nr3 10\n",
        "test": "r1 50\nr2 10 30\nr3\n",
    }
    for name, text in parts.items():
        (tmp_path / f"{name}.txt").write_text(text)
    return {name: str(tmp_path / f"{name}.txt") for name in parts}


def read(paths: dict[str, str]) -> Any:
    return read_lists(*(Path(paths[name]) for name in ("train", "valid", "test")))


def said(steps: list[Step]) -> list[str]:
    return [step.text for step in steps if isinstance(step, Said)]


def tables(steps: list[Step]) -> list[Listed]:
    return [step for step in steps if isinstance(step, Listed)]


def test_given_lists_are_matrices_in_the_order_of_numbers(lists: dict[str, str]) -> None:
    found = read(lists)
    assert found.item_ids == ["2", "10", "30", "40", "50"]
    assert found.reader_ids == ["r1", "r2", "r3"]
    assert found.train.toarray().tolist() == [[1, 1, 1, 0, 0], [0] * 5, [1, 0, 0, 1, 0]]
    assert found.test.toarray().tolist() == [[0, 0, 0, 0, 1], [0, 1, 1, 0, 0], [0] * 5]


@pytest.mark.parametrize(
    ("on", "mask", "masked"),
    [
        ("test", "train", [1, 1, 1, 0, 0]),
        ("test", "train+valid", [1, 1, 1, 1, 0]),
        ("valid", "train+valid", [1, 1, 1, 0, 0]),
    ],
)
def test_what_is_masked_is_chosen_and_told(
    lists: dict[str, str], on: Any, mask: Any, masked: list[int]
) -> None:
    split = read(lists).split(on, mask)
    assert split.masked.toarray()[0].tolist() == masked
    assert split.history.toarray()[0].tolist() == [1, 1, 1, 0, 0]
    told = " ".join(split.told)
    assert ("items in train and valid" in told) == (sum(masked) == 4)
    assert ("those in valid are ranked" in told) == ((on, mask) == ("test", "train"))


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("valid", "r1 40 40\n", "valid.txt, line 1: item 40 is named twice"),
        ("valid", "r1 40\n\nr1 50\n", "valid.txt, line 3: reader r1 has had a line"),
        ("test", "r1 30\n", "test.txt holds 1 items that their readers have in"),
    ],
)
def test_a_faulty_split_file_is_refused(lists: dict[str, str], file: str, text: str, fault: str) -> None:
    Path(lists[file]).write_text(text)
    with pytest.raises(SplitFileError, match=fault):
        read(lists)


def test_a_missing_split_file_is_named(lists: dict[str, str]) -> None:
    Path(lists["valid"]).unlink()
    with pytest.raises(SplitFileError, match=r"valid\.txt cannot be read"):
        read(lists)


def test_all_baselines_are_compared_on_what_sql_holds(
    filled: Engine, settings: EmbedderSettings, tmp_path: Path
) -> None:
    file = tmp_path / "found.csv"
    steps = list(evaluate(settings, filled, csv=str(file), **BY_TIME))
    assert said(steps)[0].startswith("Split by time at ")
    assert any(sentence.startswith("Masked: what a reader is described by") for sentence in said(steps))
    models = [
        "popularity", "recent-popularity", "item-knn", "item-knn:shrinkage=0", "item-knn-bm25",
        "als", "ease", "text", "random-walk",
    ]  # fmt: skip
    *metrics, _, gains, slices = tables(steps)
    for table in metrics:
        assert [row[0] for row in table.rows] == models
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert [row[0] for row in gains.rows] == models[1:]
    assert {row[0]: row[1] for row in gains.rows}["ease"].endswith(" better")
    assert slices.columns[1].startswith("all\n")
    assert [row[0] for row in slices.rows] == models

    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert tuple(rows[0]) == COLUMNS
    whole = [row for row in rows if row["slice"] == "all"]
    assert {(row["model"], row["metric"], row["k"]) for row in whole} == {
        (model, metric, k) for model in models for metric in (*NAMES, "coverage") for k in ("10", "20", "50")
    }
    ease = next(row for row in whole if (row["model"], row["metric"], row["k"]) == ("ease", "recall", "20"))
    assert float(ease["low"]) < float(ease["mean"]) < float(ease["high"])
    assert (ease["reference"], ease["verdict"]) == ("popularity", "better")
    assert float(ease["gain_low"]) > 0
    novelty = next(row for row in whole if (row["model"], row["metric"]) == ("ease", "novelty"))
    assert novelty["verdict"] == "higher"
    popular = next(row for row in whole if row["model"] == "popularity")
    assert (popular["reference"], popular["gain"], popular["verdict"]) == ("", "", "")
    assert len({row["slice"] for row in rows}) == 4


def test_the_reference_is_chosen(filled: Engine, settings: EmbedderSettings) -> None:
    steps = list(
        evaluate(settings, filled, models=["popularity", "ease"], reference="als:factors=4", **BY_TIME)
    )
    gains = tables(steps)[-2]
    assert gains.columns[0] == "gain over als:factors=4 at 20"
    assert [row[0] for row in gains.rows] == ["popularity", "ease"]


def test_new_readers_and_new_posts_are_slices(
    filled: Engine, settings: EmbedderSettings, tmp_path: Path
) -> None:
    # Five readers read eight posts in orders of their own, a sixth comes late, and all read two new posts.
    read = [(f"u{reader}", f"p{(reader + 3 * day) % 8}", day) for reader in range(5) for day in range(8)]
    read += [("u5", f"p{day - 5}", day) for day in range(5, 10)]
    read += [(f"u{reader}", f"new{day}", day) for reader in range(6) for day in (10, 11)]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    lines = [f"{user},{item},read,{(start + timedelta(days=day)).isoformat()}" for user, item, day in read]
    file = tmp_path / "interactions.csv"
    file.write_text("\n".join(["user_id,item_id,kind,occurred_at", *lines]))
    options: dict[str, Any] = {"interactions": str(file), "share": 0.4, "least_later": 2}
    steps = list(evaluate(settings, filled, models=["popularity"], new_posts=True, **options))
    slices = dict(heading.rsplit("\n", 1) for heading in tables(steps)[-1].columns[1:])
    assert {name: slices[name] for name in ("all", "new readers", NEW_POSTS, AMONG_NEW_POSTS)} == {
        "all": "6 readers", "new readers": "1 readers",
        NEW_POSTS: "6 readers", AMONG_NEW_POSTS: "6 readers",
    }  # fmt: skip
    assert "new ones too" in " ".join(said(steps))
    assert not any("new posts" in sentence for sentence in said(steps))
    known = list(evaluate(settings, filled, models=["popularity"], **options))
    assert not any(NEW_POSTS in heading for heading in tables(known)[-1].columns)
    assert "which are those that were read before the cut" in said(known)[2]
    assert said(known)[3].endswith(", new posts, among new posts.")


def test_thirds_of_readers_go_by_what_describes_them() -> None:
    history = np.tri(9, 9, dtype=np.float32)[[4, 0, 8, 1, 2, 3, 5, 6, 7]]
    nothing, someone = np.zeros((9, 9), np.float32), np.ones((9, 9), np.float32)
    nothing[4] = 1
    split = Split(
        [f"p{number}" for number in range(9)],
        *(sparse.csr_matrix(matrix) for matrix in (nothing, history, history, someone)),
        np.ones(9, np.bool_),
    )
    slices = reader_slices(split, np.array([2, 0, 1, 3, 4, 5, 6, 7, 8]))
    assert {name: mask.sum() for name, mask in slices.items()} == {
        "all": 9,
        "new readers": 8,
        "few readings (to 3)": 3,
        "some readings (to 6)": 3,
        "many readings (over 6)": 3,
    }
    assert slices["few readings (to 3)"].tolist() == [False, False, True, True, True] + [False] * 4


def test_given_lists_leave_out_what_needs_times_or_titles(
    filled: Engine, settings: EmbedderSettings, lists: dict[str, str]
) -> None:
    told = said(list(evaluate(settings, filled, **lists)))
    assert sum(sentence.startswith("Left out: ") for sentence in told) == 2
    with pytest.raises(UnfitModelError, match="recent-popularity needs times"):
        list(evaluate(settings, filled, models=["recent-popularity"], **lists))


def test_titles_of_a_file_let_text_be_compared(
    filled: Engine, settings: EmbedderSettings, lists: dict[str, str], tmp_path: Path
) -> None:
    items = tmp_path / "items.csv"
    items.write_text("item_id,title\n2,a\n10,b\n30,b\n40,c\n50,d\n")
    steps = list(evaluate(settings, filled, models=["text"], items=str(items), **lists))
    assert [row[0] for row in tables(steps)[0].rows] == ["text"]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"train": "a"}, "belong together"),
        ({"items": "a"}, "--items belongs to"),
        ({"train": "a", "valid": "b", "test": "c", "interactions": "d"}, "name one of both"),
        ({"train": "a", "valid": "b", "test": "c", "new_posts": True}, "--new-posts belongs to"),
        ({"least_later": 1_000}, "lower --least-later"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    filled: Engine, settings: EmbedderSettings, options: dict[str, Any], fault: str
) -> None:
    with pytest.raises(SplitError, match=fault):
        list(evaluate(settings, filled, models=["popularity"], **options))


def test_settings_of_baselines_are_checked() -> None:
    found = baseline_of("als:factors=8,alpha=2.5")
    assert found is not None
    assert found.settings == {"factors": 8, "alpha": 2.5}
    assert baseline_of("a-run") is None
    with pytest.raises(UnknownModelError, match="ease has no setting 'depth'; its settings: ridge=500"):
        baseline_of("ease:depth=3")
    with pytest.raises(UnknownModelError, match="als: factors must be a whole number, not 'many'"):
        baseline_of("als:factors=many")


def make_run(folder: Path, ids: list[str], vectors: Any, contexts: Any, window: DataWindow) -> Run:
    url = f"file://{folder}"
    write_vectors(url, ids, np.array(vectors, np.float32), contexts=np.array(contexts, np.float32))
    blocks = (Block(start=0, dim=2, pooling="sum"),)
    made = datetime.now(UTC)
    write_manifest(
        url, Manifest(space=folder.name, model="own", dim=2, blocks=blocks, created_at=made, data=window)
    )
    return open_run(url)


def test_a_run_is_scored_as_served_and_what_it_lacks_is_never_shown(
    lists: dict[str, str], tmp_path: Path
) -> None:
    split = read(lists).split("test")
    # Without posts 30 and 40; the order is not that of the split, and an unknown post is passed over.
    ids, vectors = ["50", "10", "2", "other"], [[1, 0], [0, 1], [1, 1], [9, 9]]
    run = make_run(tmp_path / "own", ids, vectors, [[0, 0], [2, 1], [3, 0], [9, 9]], DataWindow())
    scorer, remark = scorer_of_run(run, split)
    assert remark.startswith("2 posts have no vector in it, and are never shown.")
    assert scorer(np.array([0])).tolist() == [[6, 1, -np.inf, -np.inf, 5]]
    assert rank(scorer, split).values["recall@10"].tolist() == [1.0, 0.5]


def test_a_run_that_has_seen_the_future_is_refused(
    trained: Run, filled: Engine, settings: EmbedderSettings
) -> None:
    with pytest.raises(LeakyRunError, match="has learned from readings up to"):
        list(evaluate(settings, filled, models=[trained.url], **BY_TIME))


def test_a_run_of_the_past_is_compared(filled: Engine, settings: EmbedderSettings, tmp_path: Path) -> None:
    ids = [f"p{number:03d}" for number in range(124)]
    vectors = np.random.default_rng(0).normal(size=(124, 2))
    window = DataWindow(last=datetime(1970, 1, 2, tzinfo=UTC))
    make_run(tmp_path / "runs" / "own", ids, vectors, vectors, window)
    steps = list(evaluate(settings, filled, models=["own", "popularity"], **BY_TIME))
    assert [row[0] for row in tables(steps)[0].rows] == ["own", "popularity"]


@pytest.mark.parametrize("window", [DataWindow(), DataWindow(last=datetime(1970, 1, 2, tzinfo=UTC))])
def test_it_is_said_where_leaks_cannot_be_told(
    filled: Engine, settings: EmbedderSettings, tmp_path: Path, window: DataWindow
) -> None:
    run = make_run(tmp_path / "own", ["p000"], [[1, 0]], [[1, 0]], window)
    told = said(list(evaluate(settings, filled, models=[run.url], **BY_TIME)))[-1]
    assert "119 posts have no vector in it" in told
    assert ("cannot be told" in told) == (window.last is None)


def test_an_unknown_model_is_named_with_the_known_ones(filled: Engine, settings: EmbedderSettings) -> None:
    with pytest.raises(UnknownModelError, match=r"nothing is neither a run in .* baselines popularity, "):
        list(evaluate(settings, filled, models=["nothing"]))


def test_files_give_the_dataset_that_sql_gives(
    filled: Engine, settings: EmbedderSettings, tmp_path: Path
) -> None:
    posts, readings = make_posts(124), make_readings(each=40)
    items = pl.DataFrame(
        {"item_id": [post.item_id for post in posts], "title": [post.text for post in posts]}
    )
    rows = pl.DataFrame(
        {
            "user_id": [f"u{reader:03d}" for reader in readings.reader],
            "item_id": [posts[item].item_id for item in readings.item],
            "kind": ["read"] * len(readings),
            "occurred_at": [time / 1_000_000 for time in readings.time],
        }
    )
    items.write_parquet(tmp_path / "items.parquet")
    rows.sample(fraction=1, shuffle=True, seed=0).write_csv(tmp_path / "rows.csv")
    expected = finish(read_dataset(filled, settings.weight_rule))
    found = read_files(tmp_path / "rows.csv", tmp_path / "items.parquet", settings.weight_rule)
    assert [(post.item_id, post.text) for post in found.posts] == [
        (post.item_id, post.text) for post in expected.posts
    ]
    for name in ("reader", "item", "time", "weight"):
        np.testing.assert_array_equal(getattr(found.readings, name), getattr(expected.readings, name))


def test_rows_of_one_reader_and_post_become_one_reading(tmp_path: Path) -> None:
    day = "2026-01-{:02d}T00:00:00Z"
    rows = [
        # Counted once, by its latest time; a like on top.
        ("a", "p1", "read", day.format(1), None), ("a", "p1", "read", day.format(3), None),
        ("a", "p1", "like", day.format(3), None),
        # Rated low, and of two ratings at one time the lower wins: left out.
        ("a", "p2", "rating", day.format(2), 5), ("a", "p2", "rating", day.format(2), 1),
        # The later rating wins.
        ("a", "p3", "rating", day.format(2), 1), ("a", "p3", "rating", day.format(4), 4),
        ("b", "p1", "hide", day.format(2), None),
        ("b", "p0", "like", day.format(2), None), ("b", "p0", "unlike", day.format(3), None),
        ("b", "p4", "click", day.format(2), None),
    ]  # fmt: skip
    file = tmp_path / "rows.jsonl"
    columns = ["user_id", "item_id", "kind", "occurred_at", "value"]
    pl.DataFrame(rows, schema=columns, orient="row").write_ndjson(file)
    dataset = read_files(file, None, WeightRule())
    assert [post.item_id for post in dataset.posts] == ["p0", "p1", "p2", "p3", "p4"]
    readings = dataset.readings
    assert readings.reader.tolist() == [0, 0, 1]
    assert readings.item.tolist() == [1, 3, 4]
    assert readings.weight.tolist() == [2.0, 1.0, 0.5]
    assert np.diff(readings.time).tolist() == [DAY_MICROS, -2 * DAY_MICROS]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("rows.txt", "", r"must end with \.parquet, \.csv or \.jsonl"),
        ("rows.csv", "user_id,item_id,kind\na,b,read\n", "lacks the column occurred_at"),
        ("rows.csv", "user_id,item_id,kind,occurred_at\na,b,look,0\n", "row 1: kind cannot be 'look'"),
        (
            "rows.csv",
            "user_id,item_id,kind,occurred_at\na,b,read,0\na,b c,read,0\n",
            "row 2: item_id cannot be",
        ),
        (
            "rows.csv",
            "user_id,item_id,kind,occurred_at\na,b,read,2026-01-01T00:00:00\n",
            "row 1: occurred_at",
        ),
        (
            "rows.csv",
            "user_id,item_id,kind,occurred_at,value\na,b,rating,0,6\n",
            "row 1: value cannot be '6'",
        ),
    ],
)
def test_a_file_that_is_not_in_the_import_format_is_refused(
    tmp_path: Path, name: str, text: str, fault: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataFileError, match=fault):
        read_files(tmp_path / name, None, WeightRule())


def test_evaluate_is_an_operation_of_the_service(filled: Engine, settings: EmbedderSettings) -> None:
    operation = bootstrap(settings, engine=filled, consume=False).operations["evaluate"]
    assert tables(list(operation(models=["popularity"], least_later=4)))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_communities_and_tags_are_read_where_a_file_has_them(tmp_path: Path, suffix: str) -> None:
    lists: list[Any] = [["Action", "Sci-Fi"], [], None]
    texts = ["Action| Sci-Fi |", "", None]
    items = pl.DataFrame(
        {
            "item_id": ["p1", "p2", "p3"],
            "title": ["one", "two", "three"],
            "community_id": ["films", "books", None],
            "tags": texts if suffix == "csv" else lists,
        }
    )
    (items.write_csv if suffix == "csv" else items.write_parquet)(tmp_path / f"items.{suffix}")
    (tmp_path / "rows.csv").write_text("user_id,item_id,kind,occurred_at\nu,p1,read,2026-01-01T00:00:00Z\n")
    posts = read_files(tmp_path / "rows.csv", tmp_path / f"items.{suffix}", WeightRule()).posts
    assert [(post.community_id, post.tags) for post in posts] == [
        ("films", ("Action", "Sci-Fi")),
        ("books", ()),
        ("", ()),
    ]
