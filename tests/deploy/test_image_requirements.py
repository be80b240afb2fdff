"""An image has its own service's libraries and no other's."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "dgl", "transformers"}
SERVICES = ["embedder", "indexer", "recommender", "standalone"]


def locked(service: str) -> dict[str, str]:
    """Versions by name, as the image installs them."""
    lines = (ROOT / f"requirements/{service}.txt").read_text().splitlines()
    return dict(re.match(r"([a-z0-9._-]+)(?:\[.*\])?==(\S+)", line).groups() for line in lines if line)


@pytest.mark.parametrize("service", ["indexer", "recommender"])
def test_torch_is_in_no_image_but_the_embedders(service: str) -> None:
    assert not locked(service).keys() & HEAVY
    assert locked("embedder").keys() >= HEAVY


@pytest.mark.parametrize("service", SERVICES)
def test_images_have_the_versions_that_are_tested(service: str) -> None:
    tested = locked("dev")
    here = locked(service)
    assert {name: here[name] for name in here.keys() & tested.keys()} == {
        name: tested[name] for name in here.keys() & tested.keys()
    }


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_is_built_from_its_own_lock_and_runs_as_nobody_special(service: str) -> None:
    text = (ROOT / f"services/{service}/Dockerfile").read_text()
    assert set(re.findall(r"requirements/([a-z]+)\.txt", text)) == {service}
    assert "USER 10001:10001" in text
    assert "HEALTHCHECK" in text
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert bases == ["${PYTHON}", "${PYTHON}"]
    assert re.search(r"^ARG PYTHON=python:3\.11\.\d+-slim-bookworm$", text, re.MULTILINE)
