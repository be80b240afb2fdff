import os

os.environ.setdefault("DGLBACKEND", "pytorch")
# Small matrices are slower with several threads, and much slower beside other processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from sqlalchemy import Engine
from tests.embedder.taste import make_posts, make_readings, put_posts, put_readings
from transformers import AutoTokenizer, BertConfig, BertModel

from nearfeed_backends.sql.database import open_database
from nearfeed_contracts.runs import Run, list_runs
from nearfeed_embedder.operations import train_run
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.text.model import TextModel, load_text_model, shipped_folder

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def tiny_text_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a random transformer of two layers and 32 dimensions."""
    folder = str(tmp_path_factory.mktemp("text") / "tiny")
    tokenizer = AutoTokenizer.from_pretrained(shipped_folder())
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def open_tiny(tiny_text_model: str) -> Callable[..., TextModel]:
    def load(pooling: str = "mean", tokens: int = 64) -> TextModel:
        return load_text_model(tiny_text_model, pooling, tokens, CPU)  # type: ignore[arg-type]

    return load


@pytest.fixture
def cache_file(tmp_path: Path) -> Path:
    return tmp_path / "text.db"


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Posts of which the last five were read by nobody, the very last of them deleted."""
    engine = open_database(f"sqlite:///{tmp_path_factory.mktemp('filled')}/nearfeed.db")
    posts = make_posts(125)
    put_posts(engine, posts[:120], version=3)
    put_posts(engine, posts[120:124])
    put_posts(engine, posts[124:], deleted=True)
    put_readings(engine, posts, make_readings(each=40))
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def trained(filled: Engine, tmp_path_factory: pytest.TempPathFactory, tiny_text_model: str) -> Run:
    """A run that tests only read."""
    folder = tmp_path_factory.mktemp("trained")
    settings = EmbedderSettings(
        data_dir=folder, text_model=tiny_text_model, epochs=2, dim=16, linear_dim=8, device="cpu"
    )
    list(train_run(settings, filled, force=True, text_epochs=0))
    return list_runs(settings.runs_url)[0]
