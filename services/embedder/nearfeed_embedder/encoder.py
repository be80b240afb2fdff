"""What a run keeps to give vectors to new posts: the text model, the network and posts to resemble."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.runs import BrokenRunError, Run
from nearfeed_embedder.dataset import Post
from nearfeed_embedder.devices import one_thread
from nearfeed_embedder.graph.features import Vocabulary, features_of
from nearfeed_embedder.graph.pinsage import PinSage, Shape
from nearfeed_embedder.newcomers import Newcomers, Unread, from_arrays, to_arrays
from nearfeed_embedder.parts import Parts
from nearfeed_embedder.remote_encoder import CONFIGURATION
from nearfeed_embedder.settings import Pooling
from nearfeed_embedder.shifts import read_shifts
from nearfeed_embedder.text.encode import encode
from nearfeed_embedder.text.model import TextModel, TextVectors, load_text_model

FOLDER, _CONFIGURATION = CONFIGURATION.split("/")
_WEIGHTS = "pinsage.safetensors"
_NEWCOMERS = "newcomers.safetensors"
_TEXT = "text"
_FEW = 8
_UNREADABLE = (NearfeedError, OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError)


@dataclass(frozen=True)
class Encoder:
    """Gives vectors to new posts, and to edited ones, whose shifts lie at `url` where there is one."""

    text: TextModel
    network: PinSage
    vocabulary: Vocabulary
    newcomers: Newcomers
    url: str | None = None

    def encode(self, posts: Sequence[Post]) -> tuple[TextVectors, TextVectors]:
        """Vectors and contexts (n, dim) float32."""
        with one_thread() if len(posts) <= _FEW else nullcontext():
            parts = self._parts(posts)
        return parts.vectors, parts.contexts

    def _parts(self, posts: Sequence[Post]) -> Parts:
        text = encode(self.text, [post.text for post in posts])
        features = features_of(posts, text, self.vocabulary).to(self.text.device)
        with torch.inference_mode():
            as_new = np.asarray(self.network(features).cpu().numpy(), dtype=np.float32)
        parts = self.newcomers.parts(Unread(features.to(torch.device("cpu")), as_new))
        if self.url is not None:
            ids = [post.item_id for post in posts]
            parts = parts.moved(read_shifts(self.url, ids, parts.flat.shape[1]))
        return parts


def save_encoder(encoder: Encoder, run_url: str) -> None:
    """Writes the folder `encoder/` of a run."""
    fs, root = url_to_fs(f"{run_url}/{FOLDER}")
    with tempfile.TemporaryDirectory() as folder:
        encoder.text.network.save_pretrained(f"{folder}/{_TEXT}")
        encoder.text.tokenizer.save_pretrained(f"{folder}/{_TEXT}")
        state = {name: weight.cpu().contiguous() for name, weight in encoder.network.state_dict().items()}
        save_file(state, f"{folder}/{_WEIGHTS}")
        save_arrays(to_arrays(encoder.newcomers), f"{folder}/{_NEWCOMERS}")
        Path(folder, _CONFIGURATION).write_bytes(orjson.dumps(_configuration(encoder)))
        fs.makedirs(root, exist_ok=True)
        fs.put(f"{folder}/", f"{root}/", recursive=True)


def load_encoder(run: Run, device: torch.device) -> Encoder | None:
    """The encoder of a run, or None where it has none that is known here. Raises BrokenRunError."""
    if not run.has_file(CONFIGURATION):
        return None
    with _local_folder(f"{run.url}/{FOLDER}") as folder:
        try:
            return replace(_read(folder, device), url=f"{run.url}/{FOLDER}")
        except _UNREADABLE as error:
            raise BrokenRunError(
                f"{run.url}/{FOLDER} holds no encoder that this version can load ({error}): train anew, load "
                "and activate the new run; until then new posts get no vector in this one."
            ) from error


@contextmanager
def _local_folder(url: str) -> Iterator[Path]:
    """The folder itself where it lies on this machine, else a copy."""
    fs, root = url_to_fs(url)
    if isinstance(fs, LocalFileSystem):
        yield Path(root)
        return
    with tempfile.TemporaryDirectory() as folder:
        fs.get(f"{root}/", f"{folder}/", recursive=True)
        yield Path(folder)


def _configuration(encoder: Encoder) -> dict[str, Any]:
    return {
        "pooling": encoder.text.pooling,
        "tokens": encoder.text.tokens,
        "shape": encoder.network.shape.to_json(),
        "vocabulary": encoder.vocabulary.to_json(),
    }


def _read(folder: Path, device: torch.device) -> Encoder:
    configuration = orjson.loads((folder / _CONFIGURATION).read_bytes())
    pooling: Pooling = configuration["pooling"]
    text = load_text_model(str(folder / _TEXT), pooling, configuration["tokens"], device)
    network = PinSage(Shape(**configuration["shape"]))
    network.load_state_dict(load_file(folder / _WEIGHTS))
    vocabulary = Vocabulary.from_json(configuration["vocabulary"])
    newcomers = from_arrays(load_arrays(folder / _NEWCOMERS))
    return Encoder(text, network.to(device).eval(), vocabulary, newcomers)
