"""docs/serving.md tells what the schema holds, and its examples can be applied."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docs.serving_tables import UNIONS, members, tables, value_of

from nearfeed_recommender.config.checks import default_config, parse_config, read_config
from nearfeed_recommender.config.faults import ConfigError
from nearfeed_recommender.config.schema import DEFAULT_FILTERS, LanguageFilter, document_of

DOCUMENT = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()


def blocks(info: str) -> list[str]:
    found = re.findall(rf"^```{re.escape(info)}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert found, f"docs/serving.md has no block {info}"
    return found


@pytest.mark.parametrize("name", list(tables()))
def test_the_tables_are_complete_and_true(name: str) -> None:
    found = DOCUMENT.split(f"<!-- {name}:begin -->\n")[1].split(f"\n<!-- {name}:end -->")[0]
    assert found == tables()[name]


def test_every_filter_is_told() -> None:
    for name in (*DEFAULT_FILTERS, *LanguageFilter.model_fields):
        assert f"`{name}`" in DOCUMENT or f"`{{{name}: " in DOCUMENT


def test_the_whole_example_holds_and_has_most_kinds_of_parts() -> None:
    (text,) = blocks("yaml serving.yaml")
    config = read_config(text, name="serving.yaml")
    named = {model.kind for model in config.models.values()}
    assert named == {value_of(part, "kind") for part in members(UNIONS["models"][1])}


def test_each_snippet_holds_in_a_provider_of_its_own() -> None:
    (text,) = blocks("yaml serving.yaml")
    body: dict[str, Any] = document_of(read_config(text))
    for snippet in blocks("yaml provider"):
        body["providers"] |= yaml.safe_load(snippet)
    assert parse_config(body)


def test_the_fault_that_is_shown_is_the_one_that_is_told() -> None:
    (text,) = blocks("yaml serving.yaml")
    (shown,) = blocks("text fault")
    with pytest.raises(ConfigError) as refused:
        read_config(text.replace("model: graph", "model: grph"), name="serving.yaml")
    assert f"nearfeed: {refused.value}\n" == shown


def test_the_default_is_told_by_its_pages_and_providers() -> None:
    config = default_config()
    for name in (*config.providers, *config.pages):
        assert f"`{name}`" in DOCUMENT
