import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.pixie_graphs import random_edges
from nearfeed_contracts.runs import BrokenRunError
from nearfeed_core.pixie.building import Stored, TooManyEdgesError, build
from nearfeed_core.pixie.files import load, save
from nearfeed_core.pixie.ids import Index, Registry, hashes_of, index_of, name_of
from nearfeed_core.pixie.live import LiveGraph
from nearfeed_core.pixie.requests import Rule, best_of, walk_from

POSTS = [f"pöst-{number:02d}" for number in range(30)]
READERS = [f"reader-{number}" for number in range(40)]


def stored(seed: int = 0) -> Stored:
    return build(*random_edges(seed), POSTS, hashes_of(READERS))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_a_built_graph_has_the_edges_between_its_ids(seed: int) -> None:
    posts, readers = random_edges(seed)
    graph = stored(seed)
    reader_of = dict(zip(graph.readers.numbers.tolist(), graph.readers.hashes.tolist(), strict=True))
    found = {
        (name_of(graph.names, post), reader_of[reader])
        for post in range(graph.forth.nodes)
        for reader in graph.forth.targets[graph.forth.starts[post] : graph.forth.starts[post + 1]].tolist()
    }
    hashes = hashes_of(READERS).tolist()
    assert found == {(POSTS[post], hashes[reader]) for post, reader in zip(posts, readers, strict=True)}
    assert (np.diff(np.diff(graph.forth.starts.astype(int))) <= 0).all()
    assert Registry(graph.posts).find(hashes_of([name_of(graph.names, 3), "unknown"])).tolist() == [3, -1]


def test_a_graph_mapped_from_files_is_that_in_memory(tmp_path: Path) -> None:
    graph = stored()
    save(graph, str(tmp_path))
    mapped = load(tmp_path)
    for part, same in zip(graph, mapped, strict=True):
        for array, other in zip(part, same, strict=True):
            np.testing.assert_array_equal(array, other)
    results = [
        best_of(
            walk_from(LiveGraph(either.forth, either.back).graph, [0, 3], np.ones(2), Rule(steps=999)),
            np.zeros(0, np.uint32),
            20,
        )
        for either in (graph, mapped)
    ]
    np.testing.assert_array_equal(results[0], results[1])
    base = mapped.forth.targets
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base  # type: ignore[assignment]
    assert isinstance(base, np.memmap)


def test_four_bytes_hold_an_edge_in_a_direction(tmp_path: Path) -> None:
    graph = stored()
    save(graph, str(tmp_path))
    edges = len(graph.forth.targets)
    for name in ("post_readers", "reader_posts"):
        assert np.load(tmp_path / f"{name}.npy").nbytes == 4 * edges


def change(name: str, row: int, value: int) -> tuple[str, object]:
    def apply(path: Path) -> None:
        array = np.load(path)
        array[row] = value
        np.save(path, array)

    return name, apply


@pytest.mark.parametrize(
    ("file", "harm", "told"),
    [
        ("graph.json", lambda path: path.unlink(), "cannot be read"),
        ("graph.json", lambda path: path.write_text("{"), "is no head of a graph"),
        ("graph.json", lambda path: path.write_text('{"format": 2}'), "format"),
        ("post_readers.npy", lambda path: path.unlink(), "cannot be read as an array"),
        ("post_ids.npy", lambda path: path.write_bytes(b""), "cannot be read as an array"),
        ("reader_posts.npy", lambda path: path.write_bytes(path.read_bytes()[:-8]), "cannot be read"),
        ("reader_posts.npy", lambda path: np.save(path, np.load(path)[:-1]), "entries, and by graph.json"),
        ("post_starts.npy", lambda path: np.save(path, np.load(path).astype(float)), "must be a row of <u4"),
        ("post_ids.npy", lambda path: np.save(path, np.load(path)[:-1]), "must go from 0 to"),
        (*change("post_readers.npy", 5, 2**31), "names node 2147483648"),
        (*change("post_numbers.npy", 1, 999), "names node 999"),
        (*change("post_starts.npy", 3, 0), "must rise from entry to entry, and does not after entry 2"),
        (*change("reader_starts.npy", 0, 1), "goes from 1 to"),
        (*change("reader_hashes.npy", 0, 2**64 - 1), "must rise"),
    ],
)
def test_a_broken_graph_is_refused_with_one_sentence(
    tmp_path: Path, file: str, harm: object, told: str
) -> None:
    save(stored(), str(tmp_path))
    harm(tmp_path / file)  # type: ignore[operator]
    with pytest.raises(BrokenRunError, match=told) as caught:
        load(tmp_path)
    names = (str(tmp_path / file), "post_id_starts") if file == "post_ids.npy" else (str(tmp_path / file),)
    assert any(name in str(caught.value) for name in names)
    assert str(caught.value).count("\n") == 0


def test_the_head_says_how_much_there_is(tmp_path: Path) -> None:
    graph = stored()
    head = save(graph, str(tmp_path))
    assert json.loads((tmp_path / "graph.json").read_text()) == head.model_dump()
    assert head.edges == len(random_edges(0)[0])


def test_ids_that_are_the_same_are_refused() -> None:
    with pytest.raises(ValueError, match="two ids"):
        build(*random_edges(0), POSTS, hashes_of(["same"] * 40))


def test_more_edges_than_can_be_counted_are_refused() -> None:
    many = np.broadcast_to(np.uint32(0), 2**32)
    with pytest.raises(TooManyEdgesError, match="4294967296 edges"):
        build(many, many, ["post"], hashes_of(["reader"]))


@given(st.lists(st.text(min_size=1), unique=True), st.lists(st.text(min_size=1)))
def test_a_registry_numbers_as_a_dict_does(known: list[str], met: list[str]) -> None:
    registry = Registry(index_of(hashes_of(known)))
    numbers = {one: number for number, one in enumerate(known)}
    for one in met:
        new = one not in numbers
        number = numbers.setdefault(one, len(numbers))
        assert registry.find(hashes_of([one])).tolist() == [-1 if new else number]
        found, rows = registry.number(hashes_of([one, one]))
        assert (found.tolist(), rows) == ([number, number], [0] if new else [])
    assert len(registry) == len(numbers)
    assert registry.find(hashes_of(numbers)).tolist() == list(numbers.values())


def test_an_empty_index_knows_nothing() -> None:
    registry = Registry(Index(np.zeros(0, np.uint64), np.zeros(0, np.uint32)))
    assert registry.find(hashes_of(["one"])).tolist() == [-1]
