"""The marked sections of documents hold what was measured."""

import pytest
from benchmarks.report.sections import SECTIONS, Section


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: f"{section.document}-{section.name}")
def test_the_figures_are_those_that_were_measured(section: Section) -> None:
    assert section.written() == section.figures()
