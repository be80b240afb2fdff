"""What is written in any format is read as the same rows."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfeed_contracts.events import KINDS
from nearfeed_standalone.importing.kinds import kind_of
from nearfeed_standalone.importing.opening import open_rows
from nearfeed_standalone.importing.rows import filled

FORMATS = ["csv", "jsonl", "parquet"]
TEXT = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
IDS = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=128)
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2024, 1, 1), timezones=st.just(UTC))
TAGS = st.lists(st.text(TEXT.filter(lambda c: c != "|"), min_size=1, max_size=64), max_size=20).map(
    lambda tags: [tag.strip() for tag in tags if tag.strip()]
)
ITEMS = st.fixed_dictionaries(
    {
        "item_id": IDS,
        "community_id": IDS,
        "author_id": IDS,
        "title": st.text(TEXT, min_size=1, max_size=300),
        "body": st.text(TEXT, max_size=500),
        "tags": TAGS,
        "language": st.sampled_from([None, "en", "ko-KR"]),
        "url": st.none() | st.text(TEXT, min_size=1, max_size=100),
        "published_at": TIMES,
    }
)
INTERACTIONS = st.fixed_dictionaries(
    {
        "user_id": IDS,
        "item_id": IDS,
        "kind": st.sampled_from([kind for kind in KINDS if kind != "rating"]),
        "occurred_at": TIMES,
    }
)
RATINGS = st.fixed_dictionaries(
    {
        "user_id": IDS,
        "item_id": IDS,
        "kind": st.just("rating"),
        "occurred_at": TIMES,
        "value": st.floats(0, 5, width=32),
    }
)


def _told(row: dict[str, Any], suffix: str) -> dict[str, Any]:
    if suffix == "parquet":
        return row
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _read_back(path: Path, kind: str) -> tuple[list[int], list[dict[str, Any]]]:
    lines, found = [], []
    with open_rows(path) as rows:
        for raw in rows.rows:
            assert raw.fault is None
            lines.append(raw.place["line"])
            model = kind_of(kind).model.model_validate(filled(raw.values))
            found.append(model.model_dump(include=set(kind_of(kind).columns)))
        assert raw.position == rows.total
    return lines, found


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("kind", "rows"), [("items", ITEMS), ("interactions", INTERACTIONS), ("interactions", RATINGS)]
)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_round_trip(suffix: str, kind: str, rows: Any, write_rows: Any, data: st.DataObject) -> None:
    originals = data.draw(st.lists(rows, min_size=1, max_size=6))
    with tempfile.TemporaryDirectory() as folder:
        path = write_rows(Path(folder, f"rows.{suffix}"), [_told(row, suffix) for row in originals])
        lines, found = _read_back(path, kind)
    assert lines == sorted(set(lines))
    for original, row in zip(originals, found, strict=True):
        expected = {"value": None} if kind == "interactions" else {}
        assert row == expected | original | ({"tags": tuple(original["tags"])} if "tags" in original else {})
