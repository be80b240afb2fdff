from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfeed_embedder.stages import finish
from nearfeed_embedder.text.cache import VectorCache
from nearfeed_embedder.text.encode import encode, encode_in_steps
from nearfeed_embedder.text.model import TextModel, TextModelError, fingerprint, load_text_model, pool_tokens
from nearfeed_embedder.text.simcse import contrastive_loss, fine_tune, similar_lengths

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


def test_a_text_longer_than_the_model_reads_is_cut(open_tiny: OpenTiny) -> None:
    model = open_tiny(tokens=8)
    np.testing.assert_array_equal(encode(model, ["a " * 5_000]), encode(model, ["a " * 10_000]))


def test_fine_tuning_brings_a_text_closer_to_itself_and_away_from_others(open_tiny: OpenTiny) -> None:
    model = open_tiny()
    texts = [f"{a} {b} {c}" for a in ("red", "blue") for b in ("cat", "dog", "fish") for c in "abcdefgh"]
    before = _loss_under_dropout(model, texts)
    losses = finish(fine_tune(model, texts, epochs=12, batch=16, seed=0, learning_rate=1e-3))
    assert len(losses) == 12 * 3
    assert not model.network.training
    assert _loss_under_dropout(model, texts) < before - 0.3


def _loss_under_dropout(model: TextModel, texts: list[str]) -> float:
    from nearfeed_embedder.text.model import embed

    torch.manual_seed(1)
    model.network.train()
    with torch.no_grad():
        loss = contrastive_loss(embed(model, texts * 2)).item()
    model.network.eval()
    return loss


def test_fine_tuning_is_repeatable(open_tiny: OpenTiny) -> None:
    first, second = open_tiny(), open_tiny()
    for model in (first, second):
        finish(fine_tune(model, TEXTS, epochs=2, batch=3, seed=7))
    assert fingerprint(first) == fingerprint(second) != fingerprint(open_tiny())


def test_the_contrastive_loss_by_hand() -> None:
    # Two orthogonal texts that each meet themselves unchanged: similarity 1 against 0, over 0.05.
    vectors = torch.eye(2).repeat(2, 1)
    expected = np.log(1 + np.exp(-1 / 0.05))
    assert contrastive_loss(vectors).item() == pytest.approx(expected, abs=1e-6)


def test_batches_hold_every_text_once_but_for_a_last_single_one() -> None:
    texts = ["x" * length for length in range(1, 30)]
    batches = similar_lengths(texts, 7, np.random.default_rng(0))
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
