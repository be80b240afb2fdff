"""The folder of Milvus Lite: `collections/NAME/{schema.json, manifest.json, partitions/…, wal/…}`."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from nearfeed_backends.errors import VECTORS, BackendSettingError


def remove_unfinished(path: str) -> None:
    """Removes the folders of collections whose making or dropping was broken off."""
    for folder in Path(path, "collections").glob("*"):
        if not (folder / "schema.json").exists():
            shutil.rmtree(folder)


def collections_in(path: str) -> list[str]:
    """The names of the collections of a folder."""
    return sorted(folder.name for folder in Path(path, "collections").iterdir())


def check_files(path: str, collection: str) -> None:
    """Raises BackendSettingError for a lost file, which Milvus Lite would pass over."""
    folder = Path(path, "collections", collection)
    try:
        missing = [file.name for file in _listed(folder) if not file.exists()]
    except ValueError:
        raise damaged(path, collection, "its manifest.json is no JSON") from None
    if missing:
        raise damaged(path, collection, f"{missing[0]} is missing")


def damaged(path: str, collection: str, fault: str) -> BackendSettingError:
    """The error for a collection that cannot be read."""
    return BackendSettingError(
        f"{VECTORS}: {Path(path, 'collections', collection)} is damaged ({fault}); "
        "remove that folder and load its run again."
    )


def _listed(folder: Path) -> Iterator[Path]:
    manifest = folder / "manifest.json"
    if manifest.exists():
        for name, files in json.loads(manifest.read_bytes()).get("partitions", {}).items():
            for file in files.get("data_files", []) + files.get("delta_files", []):
                yield folder / "partitions" / name / file
