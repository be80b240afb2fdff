"""The page's files, read once: their bodies, types and entity tags."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

INDEX = "index.html"
_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class PageFile:
    """A file as it is sent; `etag` is a digest of its body."""

    body: bytes
    media_type: str
    etag: str


def page_files() -> Mapping[str, PageFile]:
    """All files of the page by their path below `static`."""
    return dict(_below(files(__package__).joinpath("static"), ""))


def _below(folder: Traversable, prefix: str) -> list[tuple[str, PageFile]]:
    found: list[tuple[str, PageFile]] = []
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            found += _below(entry, f"{path}/")
        elif media_type := _TYPES.get(path.rpartition(".")[2]):
            body = entry.read_bytes()
            found.append((path, PageFile(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')))
    return found
