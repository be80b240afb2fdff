"""The page of settings has every setting with its default."""

import json
from collections.abc import Iterator
from pathlib import Path

from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_indexer.settings import IndexerSettings
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.settings import Settings
from nearfeed_standalone.settings import StandaloneSettings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
GROUPS = [
    ("all", Settings),
    ("recommender", RecommenderSettings),
    ("indexer", IndexerSettings),
    ("embedder", EmbedderSettings),
    ("standalone", StandaloneSettings),
]
EMBEDDED = {
    "vectors_url": "`faiss://…/vectors`",
    "database_url": "`sqlite:///…/nearfeed.db`",
    "log_url": "`embedded://…/log.db`",
    "runs_url": "`file://…/runs`",
}


def told_default(default: object) -> str:
    if default in ("", {}):
        return ""
    return f"`{json.dumps(default) if isinstance(default, dict) else default}`"


def rows() -> Iterator[str]:
    """The lines of the table of settings."""
    yield "| setting | default | what it is | of |"
    yield "|---|---|---|---|"
    told: set[str] = set()
    for group, model in GROUPS:
        for name, field in model.model_fields.items():
            if name not in told:
                told.add(name)
                default = field.get_default(call_default_factory=True)
                shown = EMBEDDED.get(name) or told_default(default)
                yield f"| `NEARFEED_{name.upper()}` | {shown} | {field.description} | {group} |"


def test_the_table_of_settings_is_complete_and_true() -> None:
    text = PAGE.read_text()
    table = text.split("<!-- settings:begin -->\n")[1].split("<!-- settings:end -->")[0]
    assert table == "\n".join(rows()) + "\n"
