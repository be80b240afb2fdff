"""Files of rows: what can be read, and by what they are known again."""

import hashlib
from pathlib import Path

from nearfeed_contracts.errors import NearfeedError

_CHUNK = 1 << 20


class UnreadableFileError(NearfeedError):
    """A file that cannot be imported; the text names it, and the line where one is at fault."""

    def __init__(self, path: Path, fault: str, *, line: int | None = None) -> None:
        where = f"{path}, line {line}" if line else str(path)
        super().__init__(f"{where}: {fault}.")


def check_file(path: Path) -> None:
    """Raises UnreadableFileError for a file that is missing, empty or may not be read."""
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise UnreadableFileError(path, f"cannot be read ({error.strerror})") from None
    if empty:
        raise UnreadableFileError(path, "the file is empty")


def hash_of(path: Path) -> str:
    """SHA-256 of the file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
