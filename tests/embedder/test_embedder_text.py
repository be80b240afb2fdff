from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfeed_embedder.dataset import text_of
from nearfeed_embedder.settings import Objective
from nearfeed_embedder.stages import finish
from nearfeed_embedder.text.cache import VectorCache
from nearfeed_embedder.text.encode import encode, encode_in_steps
from nearfeed_embedder.text.model import (
    TextModel,
    TextModelError,
    fingerprint,
    load_text_model,
    pool_tokens,
)
from nearfeed_embedder.text.simcse import (
    Pair,
    alike,
    contrastive_loss,
    fine_tune,
    loss_of,
    pairs_of,
    similar_lengths,
)

OpenTiny = Callable[..., TextModel]
CPU = torch.device("cpu")
TEXTS = ["the sea is calm", "a cat", "bread and butter and jam and a cup of tea", "stars", "a long way home"]


def test_mean_pooling_passes_over_the_padding() -> None:
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [99.0, 99.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert pool_tokens(hidden, mask, "mean").tolist() == [[2.0, 4.0]]
    assert pool_tokens(hidden, mask, "cls").tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_text_has_one_unit_vector_whatever_stands_beside_it(open_tiny: OpenTiny, pooling: str) -> None:
    model = open_tiny(pooling)
    together = encode(model, TEXTS, batch=5)
    alone = np.concatenate([encode(model, [text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_batches_side_by_side_give_the_same_vectors(open_tiny: OpenTiny) -> None:
    model = open_tiny()
    texts = [f"{text} {number}" for number in range(40) for text in TEXTS]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one_by_one = encode(model, texts, batch=8)
        torch.set_num_threads(4)
        np.testing.assert_array_equal(encode(model, texts, batch=8), one_by_one)
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(threads)


def test_a_text_longer_than_the_model_reads_is_cut(open_tiny: OpenTiny) -> None:
    model = open_tiny(tokens=8)
    np.testing.assert_array_equal(encode(model, ["a " * 5_000]), encode(model, ["a " * 10_000]))


def test_fine_tuning_brings_a_text_closer_to_itself_and_away_from_others(open_tiny: OpenTiny) -> None:
    model = open_tiny()
    texts = [f"{a} {b} {c}" for a in ("red", "blue") for b in ("cat", "dog", "fish") for c in "abcdefgh"]
    pairs = pairs_of(texts, "unsupervised")
    before = _loss_under_dropout(model, pairs)
    losses = finish(fine_tune(model, pairs, epochs=12, batch=16, seed=0, learning_rate=1e-3, share=1))
    assert len(losses) == 12 * 3
    assert not model.network.training
    assert _loss_under_dropout(model, pairs) < before - 0.3


def _loss_under_dropout(model: TextModel, pairs: list[Pair]) -> float:
    torch.manual_seed(1)
    model.network.train()
    with torch.no_grad():
        loss = loss_of(model, pairs).item()
    model.network.eval()
    return loss


def test_supervised_fine_tuning_brings_a_title_to_its_body(open_tiny: OpenTiny) -> None:
    # Only pairs say which title belongs to which body: they have no word in common.
    words = [f"{a}{b}" for a in "abcdefgh" for b in "stuvwxyz"]
    texts = [f"{title}\n{body} {body}" for title, body in zip(words[:32], words[32:], strict=True)]
    model = open_tiny()
    assert _share_found(model, texts) < 0.2
    pairs = pairs_of(texts, "supervised")
    finish(fine_tune(model, pairs, epochs=40, batch=16, seed=0, learning_rate=2e-3, share=1))
    assert _share_found(model, texts) > 0.9


def _share_found(model: TextModel, texts: list[str]) -> float:
    """How many titles are closest to their own body."""
    titles, bodies = zip(*pairs_of(texts, "supervised"), strict=True)
    closest = (encode(model, titles) @ encode(model, bodies).T).argmax(axis=1)
    return float((closest == np.arange(len(texts))).mean())


@pytest.mark.parametrize("objective", ["unsupervised", "supervised"])
def test_fine_tuning_is_repeatable(open_tiny: OpenTiny, objective: Objective) -> None:
    pairs = pairs_of(TEXTS, objective)
    first, second, other = open_tiny(), open_tiny(), open_tiny()
    for model, seed in ((first, 7), (second, 7), (other, 8)):
        finish(fine_tune(model, pairs, epochs=2, batch=3, seed=seed))
    assert fingerprint(first) == fingerprint(second)
    assert len({fingerprint(model) for model in (first, other, open_tiny())}) == 3


def test_weights_end_on_the_way_from_those_of_before(open_tiny: OpenTiny) -> None:
    before, whole, part, none = (open_tiny() for _ in range(4))
    for model, share in ((whole, 1.0), (part, 0.25), (none, 0.0)):
        pairs = pairs_of(TEXTS, "unsupervised")
        finish(fine_tune(model, pairs, epochs=2, batch=3, seed=0, learning_rate=1e-2, share=share))
    assert fingerprint(none) == fingerprint(before) != fingerprint(whole)
    weights = (model.network.parameters() for model in (before, whole, part))
    for known, learned, kept in zip(*weights, strict=True):
        torch.testing.assert_close(kept, known + 0.25 * (learned - known))


def test_a_post_is_paired_with_itself_or_its_title_with_its_body() -> None:
    texts = ["b\nlong story\nin lines", "a", "\nbody alone", "title alone\n  ", "a"]
    assert pairs_of(texts, "unsupervised") == [(text, text) for text in sorted(set(texts))]
    assert dict(pairs_of(texts, "supervised")) == {
        "b": "long story\nin lines",
        "a": "a",
        "\nbody alone": "\nbody alone",
        "title alone\n  ": "title alone\n  ",
    }
    assert len(pairs_of(texts, "supervised")) == 4
    assert pairs_of([text_of("t", "body")], "supervised") == [("t", "body")]
    assert pairs_of([text_of("t", "")], "supervised") == [("t", "t")]


def test_the_contrastive_loss_by_hand() -> None:
    # Two orthogonal texts that each meet themselves unchanged: similarity 1 against 0, over 0.05.
    vectors = torch.eye(2).repeat(2, 1)
    expected = np.log(1 + np.exp(-1 / 0.05))
    nothing_alike = torch.zeros(2, 2, dtype=torch.bool)
    assert contrastive_loss(vectors, nothing_alike).item() == pytest.approx(expected, abs=1e-6)


def test_the_contrastive_loss_of_pairs_by_hand() -> None:
    # Cosines with the own body .8 and .6, with the other one 1 and .96, each over .05.
    titles, bodies = [[1.0, 0.0], [0.6, 0.8]], [[0.8, 0.6], [1.0, 0.0]]
    vectors = torch.tensor([*titles, *bodies])
    own, other = (16.0, 12.0), (20.0, 19.2)
    similarity = (torch.tensor(titles) @ torch.tensor(bodies).T / 0.05).flatten().tolist()
    assert similarity == pytest.approx([own[0], other[0], other[1], own[1]], abs=1e-4)
    expected = np.mean(
        [np.log1p(np.exp(not_own - is_own)) for is_own, not_own in zip(own, other, strict=True)]
    )
    nothing_alike = torch.zeros(2, 2, dtype=torch.bool)
    assert contrastive_loss(vectors, nothing_alike).item() == pytest.approx(expected, abs=1e-4)
    # Pairs that share a title are no negatives of each other: nothing is left to tell apart.
    assert contrastive_loss(vectors, alike([("t", "a"), ("t", "b")])).item() == pytest.approx(0, abs=1e-6)


def test_pairs_that_share_a_text_are_alike() -> None:
    marks = alike([("t", "a"), ("t", "b"), ("u", "b"), ("v", "t")])
    assert marks.int().tolist() == [[0, 1, 0, 1], [1, 0, 1, 1], [0, 1, 0, 0], [1, 1, 0, 0]]


def test_batches_hold_every_text_once_but_for_a_last_single_one() -> None:
    batches = similar_lengths(np.arange(1, 30), 7, np.random.default_rng(0))
    rows = np.concatenate(batches)
    assert len(set(rows)) == len(rows) == 28
    assert max(len(batch) for batch in batches) == 7


def test_cached_vectors_are_not_made_again(open_tiny: OpenTiny, cache_file: Path) -> None:
    model = open_tiny()
    cache = VectorCache(cache_file, fingerprint(model))
    made = finish(encode_in_steps(model, TEXTS, batch=2, cache=cache))
    model.network = None
    again = finish(encode_in_steps(model, TEXTS[::-1], batch=2, cache=cache))
    np.testing.assert_array_equal(again, made[::-1])


def test_the_cache_keeps_models_apart_and_forgets_the_oldest(cache_file: Path) -> None:
    for name in "abcd":
        VectorCache(cache_file, name).put({"text": np.full(3, ord(name), np.float32)})
    assert VectorCache(cache_file, "d").get(["text", "other"]).keys() == {"text"}
    assert VectorCache(cache_file, "c").get(["text"])["text"][0] == ord("c")
    assert VectorCache(cache_file, "a").get(["text"]) == {}


def test_the_fingerprint_knows_pooling_and_length(open_tiny: OpenTiny) -> None:
    prints = {fingerprint(open_tiny(pooling, tokens)) for pooling in ("mean", "cls") for tokens in (8, 16)}
    assert len(prints) == 4


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(TextModelError, match=r"NEARFEED_TEXT_MODEL: .* cannot be loaded .*; name a folder"):
        load_text_model(str(tmp_path), "mean", 64, CPU)
