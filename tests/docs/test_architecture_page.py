"""The pages for maintainers name files and folders that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = [
    ROOT,
    ROOT / "services/recommender/nearfeed_recommender",
    ROOT / "services/embedder/nearfeed_embedder",
    ROOT / "services/indexer/nearfeed_indexer",
    ROOT / "runtime",
    ROOT / "core",
]


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_the_files_that_a_page_names_exist(page: str) -> None:
    named = set(re.findall(r"`([\w/.]+(?:\.py|/))`", (ROOT / page).read_text()))
    missing = [name for name in named if not any((folder / name).exists() for folder in FOLDERS)]
    assert len(named) > 10
    assert not missing
