"""Many texts to vectors, each distinct text once, and none that the cache knows."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from nearfeed_embedder.devices import one_batch_a_thread
from nearfeed_embedder.stages import Stage, finish
from nearfeed_embedder.text.cache import VectorCache
from nearfeed_embedder.text.model import TextModel, TextVectors, Tokens, embed_tokens, tokenize
from nearfeed_runtime.operations import Progress

_TEXTS_SAVED_AT_ONCE = 4_096


def encode(model: TextModel, texts: Sequence[str], *, batch: int = 64) -> TextVectors:
    """Unit vectors (n, dim) float32."""
    return finish(encode_in_steps(model, texts, batch=batch, cache=None))


def encode_in_steps(
    model: TextModel, texts: Sequence[str], *, batch: int, cache: VectorCache | None
) -> Stage[TextVectors]:
    """Unit vectors (n, dim) float32, in batches of similar length."""
    unique = sorted(set(texts), key=lambda text: (len(text), text))
    known = cache.get(unique) if cache else {}
    missing = [text for text in unique if text not in known]
    for start in range(0, len(missing), _TEXTS_SAVED_AT_ONCE):
        part = missing[start : start + _TEXTS_SAVED_AT_ONCE]
        fresh = yield from _encode_part(model, part, batch, len(unique) - len(missing) + start, len(unique))
        if cache:
            cache.put(fresh)
        known.update(fresh)
    yield Progress("Encoding texts", len(unique), len(unique))
    return np.stack([known[text] for text in texts]) if texts else np.empty((0, model.dim), np.float32)


def _encode_part(
    model: TextModel, texts: Sequence[str], batch: int, done: int, total: int
) -> Stage[dict[str, TextVectors]]:
    parts = [texts[start : start + batch] for start in range(0, len(texts), batch)]
    vectors: dict[str, TextVectors] = {}
    with one_batch_a_thread(model.device) as apply:
        found = apply(partial(_vectors_of, model), (tokenize(model, part) for part in parts))
        for part, rows in zip(parts, found, strict=True):
            vectors.update(zip(part, rows, strict=True))
            yield Progress("Encoding texts", done + len(vectors), total)
    return vectors


def _vectors_of(model: TextModel, tokens: Tokens) -> TextVectors:
    with torch.inference_mode():
        rows: TextVectors = embed_tokens(model, tokens).float().cpu().numpy()
    return rows
