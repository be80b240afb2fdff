"""What the recommender reads of a ranker's run scores as what was trained."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from tests.embedder.taste import make_dataset
from tests.served_inputs import post, reader

from nearfeed_contracts.runs import (
    RANKER,
    Block,
    BrokenRunError,
    Manifest,
    Run,
    open_run,
    write_manifest,
    write_vectors,
)
from nearfeed_core.ranking_features import Featuriser
from nearfeed_core.ranking_inputs import PostInputs, ReaderInputs
from nearfeed_embedder.onnx_files import onnx_bytes
from nearfeed_embedder.rankers.examples import Fitted, Group
from nearfeed_embedder.rankers.training import RANKERS, fit_of, fit_whole
from nearfeed_embedder.rankers.writing import write_ranker
from nearfeed_embedder.stages import finish
from nearfeed_recommender.models.onnx_files import load_tower
from nearfeed_recommender.models.rankers import load_ranker

HOUR = 3_600_000_000
_FITTED: dict[str, tuple[Featuriser, Fitted]] = {}


@pytest.mark.parametrize("name", RANKERS)
def test_a_served_ranker_scores_as_the_trained_one(name: str, tmp_path: Path) -> None:
    ranker = load_ranker(written(name, tmp_path))
    maker, fitted = fitted_of(name)
    for count in (1, 2, 200):
        one, posts = request_of(count, seed=count)
        expected = fitted.score(maker.features(one, posts))
        found = ranker.score(one, posts)
        assert found.dtype == np.float32
        assert found == pytest.approx(expected, abs=1e-5)
        assert len(np.unique(found)) > 1 or count < 3
    assert len(ranker.score(one, [])) == 0


@pytest.mark.parametrize("name", ["lambdamart", "fm"])
def test_a_ranker_learns_what_is_read(name: str, tmp_path: Path) -> None:
    run = written(name, tmp_path)
    one, posts = request_of(100, seed=7)
    scores = load_ranker(run).score(one, posts)
    is_read = grades_of(posts) > 0
    assert scores[is_read].mean() > scores[~is_read].mean()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda body: {**body, "format": "pickle"}, "ranker.json: format must be one of lightgbm, onnx"),
        (lambda body: {**body, "file": "gone"}, "ranker.json: file is 'gone'"),
        (lambda body: {**body, "features": {}}, "ranker.json: the features are not told"),
        (lambda body: fewer_sources(body), "takes 20 features, where ranker.json names 19"),
        (lambda body: [], "ranker.json must be an object"),
    ],
)
def test_a_broken_ranker_is_told_in_a_sentence(
    change: Callable[[dict], object], told: str, tmp_path: Path
) -> None:
    run = written("lambdamart", tmp_path)
    body = orjson.loads(run.read_bytes(RANKER))
    with pytest.raises(BrokenRunError, match=told):
        load_ranker(rewritten(run, RANKER, orjson.dumps(change(body))))


@pytest.mark.parametrize(
    ("name", "file", "told"),
    [
        ("lambdamart", "ranker.txt", "ranker.txt is cut: it has no line"),
        ("fm", "ranker.onnx", "ranker.onnx cannot be run as ONNX"),
        ("fm", RANKER, "ranker.json is no JSON"),
    ],
)
def test_a_broken_file_is_told_in_a_sentence(name: str, file: str, told: str, tmp_path: Path) -> None:
    run = written(name, tmp_path)
    for content in (b"", b"not it at all", run.read_bytes(file)[:-200]):
        with pytest.raises(BrokenRunError, match=told):
            load_ranker(rewritten(run, file, content))


def test_trees_that_end_as_they_should_may_still_be_none(tmp_path: Path) -> None:
    run = written("lambdamart", tmp_path)
    with pytest.raises(
        BrokenRunError, match=r"ranker.txt cannot be read by LightGBM: Model file doesn't specify"
    ):
        load_ranker(rewritten(run, "ranker.txt", b"end of parameters"))


def test_a_network_with_other_inputs_is_told(tmp_path: Path) -> None:
    run = written("fm", tmp_path)
    other = onnx_bytes(torch.nn.Linear(3, 1), (torch.zeros(2, 3),), inputs=("dense",), output="scores")
    with pytest.raises(BrokenRunError, match=r"takes the inputs \{'dense': 3\}, not"):
        load_ranker(rewritten(run, "ranker.onnx", other))


def test_a_tower_gives_what_torch_gives(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    run = run_with_tower(network, tmp_path, dim=4)
    tower = load_tower(run)
    for row in np.random.default_rng(0).normal(size=(5, 4)):
        expected = network(torch.from_numpy(row.astype(np.float32))).detach().numpy()
        assert tower.query(row) == pytest.approx(expected, abs=1e-5)


def test_a_broken_tower_is_told_in_a_sentence(tmp_path: Path) -> None:
    network = torch.nn.Linear(4, 3)
    with pytest.raises(BrokenRunError, match=r"tower.onnx must give 4 finite numbers, not the shape \(3,\)"):
        load_tower(run_with_tower(network, tmp_path / "narrow", dim=4))
    with pytest.raises(BrokenRunError, match=r"takes the inputs \{'pooled': 4\}, not \{'pooled': 5\}"):
        load_tower(run_with_tower(network, tmp_path / "wide", dim=5))
    run = run_with_tower(torch.nn.Linear(4, 4), tmp_path / "cut", dim=4)
    with pytest.raises(BrokenRunError, match=r"tower.onnx cannot be run as ONNX"):
        load_tower(rewritten(run, "tower.onnx", b"no network"))
    manifest = run.manifest.model_copy(update={"tower": None})
    with pytest.raises(BrokenRunError, match="has no tower: its manifest names None"):
        load_tower(Run(run.url, manifest))


def fitted_of(name: str) -> tuple[Featuriser, Fitted]:
    """Fitted once, as an export takes a second."""
    if name not in _FITTED:
        groups = [group_of(seed) for seed in range(60)]
        spec, fitted = finish(fit_whole(fit_of(name), groups, 3, seed=0))
        content = fitted.write()
        _FITTED[name] = Featuriser(spec), replace(fitted, write=lambda: content)
    return _FITTED[name]


def written(name: str, folder: Path) -> Run:
    maker, fitted = fitted_of(name)
    dataset = make_dataset(readers=2, posts=4, each=2)
    told = dict[str, object](metrics={}, configuration={})
    manifest = write_ranker(str(folder), name, dataset, [group_of(0)], maker.spec, fitted, **told)
    return open_run(f"{folder}/{manifest.space}")


def group_of(seed: int) -> Group:
    one, posts = request_of(20, seed)
    return Group(one, tuple(posts), tuple(range(20)), grades_of(posts))


def grades_of(posts: list[PostInputs]) -> np.ndarray:
    """Posts are read that many have read."""
    return np.array([of.readers > 25 for of in posts], np.float32)


def request_of(count: int, seed: int) -> tuple[ReaderInputs, list[PostInputs]]:
    rng = np.random.default_rng(seed)
    one = reader(1_000 * HOUR, readings=3, communities={"c1": 0.5, "c2": 0.5}, tags={"t1": 1.0})
    posts = [
        post(
            f"p{number}",
            f"c{rng.integers(4)}",
            f"a{rng.integers(9)}",
            int(rng.integers(1_000)) * HOUR,
            tags=(f"t{rng.integers(5)}",),
            readers=int(rng.integers(50)),
            ranks={"near": int(rng.integers(1, 99))},
            scores={"near": float(rng.normal())},
        )
        for number in range(count)
    ]
    return one, posts


def fewer_sources(body: dict) -> dict:
    features = body["features"]
    cut = {name: features[name][:-1] for name in ("scored", "means", "scales")}
    return {**body, "features": {**features, **cut}}


def run_with_tower(network: torch.nn.Module, folder: Path, *, dim: int) -> Run:
    folder.mkdir(exist_ok=True)
    content = onnx_bytes(network, (torch.zeros(2, 4),), inputs=("pooled",), output="query")
    (folder / "tower.onnx").write_bytes(content)
    write_vectors(str(folder), ["p"], np.ones((1, dim), np.float32))
    manifest = Manifest(
        space="towered",
        model="test",
        dim=dim,
        blocks=(Block(start=0, dim=dim),),
        tower="tower.onnx",
        created_at="2026-01-01T00:00:00Z",  # type: ignore[arg-type]
    )
    return Run(str(folder), write_manifest(str(folder), manifest))


def rewritten(run: Run, file: str, content: bytes) -> Run:
    Path(run.path(file)).write_bytes(content)
    return run
