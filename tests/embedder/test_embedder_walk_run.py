from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sqlalchemy import Engine

from embedder.taste import make_dataset, make_readings, taste_of
from nearfeed_contracts.fields import to_micros
from nearfeed_contracts.runs import GRAPH, list_runs, open_run, run_url
from nearfeed_core.pixie.files import load
from nearfeed_core.pixie.ids import Registry, hashes_of
from nearfeed_core.readings import WeightRule
from nearfeed_embedder.baselines.random_walk import random_walk
from nearfeed_embedder.dataset import Dataset, TooLittleDataError
from nearfeed_embedder.load import read_dataset
from nearfeed_embedder.stages import finish
from nearfeed_embedder.trainers import random_walk as trainer
from nearfeed_embedder.trainers.random_walk import write_walk_run


def community() -> Dataset:
    return replace(make_dataset(), reader_ids=[f"u{reader:03d}" for reader in range(60)])


def test_the_graph_of_a_dataset_is_a_run(tmp_path: Path) -> None:
    made = community()
    manifest = write_walk_run(tmp_path.as_uri(), made)
    run = open_run(run_url(tmp_path.as_uri(), manifest.space))
    assert (run.manifest.kind, run.manifest.model) == ("graph", "random-walk")
    assert manifest.space.startswith("random-walk-")
    assert manifest.rows == {"posts": 120, "readers": 60, "edges": len(made.readings)}
    assert to_micros(manifest.data.last) == made.readings.time.max()  # type: ignore[arg-type]
    assert {"numba", "numpy", "nearfeed"} == set(manifest.libraries)
    graph = load(Path(run.path(GRAPH)).parent)
    post = int(Registry(graph.posts).find(hashes_of(["p007"]))[0])
    reader = Registry(graph.readers).find(hashes_of([made.reader_ids[number] for number in range(60)]))
    found = graph.forth.targets[graph.forth.starts[post] : graph.forth.starts[post + 1]]
    assert set(found.tolist()) == set(reader[made.readings.reader[made.readings.item == 7]].tolist())
    assert write_walk_run(tmp_path.as_uri(), made).space != manifest.space


def test_readers_keep_their_ids_from_sql_on(filled: Engine) -> None:
    dataset = finish(read_dataset(filled, WeightRule()))
    read, readers = dataset.readings, dataset.reader_ids
    expected = make_readings(each=40)
    assert {(readers[reader], item) for reader, item in zip(read.reader, read.item, strict=True)} == {
        (f"u{reader:03d}", item) for reader, item in zip(expected.reader, expected.item, strict=True)
    }


def test_nothing_is_left_where_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(trainer, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_walk_run(tmp_path.as_uri(), community())
    assert not list(tmp_path.iterdir())
    assert not list_runs(tmp_path.as_uri())


def test_without_readings_there_is_no_graph(tmp_path: Path) -> None:
    with pytest.raises(TooLittleDataError, match="nearfeed import"):
        write_walk_run(tmp_path.as_uri(), community().before(0))


def test_walks_find_what_a_taste_reads() -> None:
    readings = make_readings()
    train = sparse.csr_matrix(
        (np.ones(len(readings), np.float32), (readings.reader, readings.item)), (60, 120)
    )
    score = random_walk(train, train, steps=5_000)
    scores = score(np.arange(9))
    own = np.array([[taste_of(post) == reader % 3 for post in range(120)] for reader in range(9)])
    unread = train[:9].toarray() == 0
    assert scores.shape == (9, 120)
    assert scores[own & unread].mean() > 2 * scores[~own & unread].mean()
    np.testing.assert_array_equal(score(np.array([4])), scores[4:5])
    nobody = random_walk(train, sparse.csr_matrix((60, 120), dtype=np.float32), steps=100)
    assert not nobody(np.array([0, 1])).any()
