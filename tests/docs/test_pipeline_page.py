"""The pipeline that docs/pipeline.md shows is one."""

import re
from pathlib import Path

from nearfeed_standalone.pipeline.definition import STEPS, read_pipeline

PAGE = Path(__file__).parents[2] / "docs" / "pipeline.md"


def test_the_file_that_the_page_shows(tmp_path: Path) -> None:
    shown = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown is not None
    (tmp_path / "nightly.yaml").write_text(shown.group(1))
    assert tuple(read_pipeline(str(tmp_path / "nightly.yaml")).steps) == STEPS
