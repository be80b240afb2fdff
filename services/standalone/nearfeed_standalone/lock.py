"""The data folder has one owner at a time; others ask that process, or are told who it is."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from nearfeed_contracts.errors import ConflictError, NearfeedError

MARKER = ".nearfeed"
LOCK = "owner.lock"
OWNER = "owner.json"
DATABASE = "nearfeed.db"
_IN_ORDER = "Nearfeed keeps its data in this folder.\n"
_BEING_EMPTIED = "Nearfeed is emptying this folder.\n"


@dataclass(frozen=True)
class Owner:
    """Who holds a data folder. `address` is where it answers over HTTP, if it does."""

    pid: int
    token: str
    address: str | None = None


class FolderInUseError(ConflictError):
    """Another process holds the data folder."""

    def __init__(self, folder: Path, owner: Owner | None) -> None:
        holder = f"process {owner.pid}" if owner else "another process"
        if owner and owner.address:
            holder += f", which serves {owner.address}"
        super().__init__(f"{folder} is in use by {holder}; wait until it has ended, or end it.")
        self.owner = owner


class DataFolder:
    """A data folder that this process holds."""

    def __init__(self, path: Path, owner: Owner) -> None:
        self.path = path
        self.owner = owner
        self._is_ours_alone = True

    def announce(self, address: str) -> None:
        """Says where this process takes commands; `address` is such as http://127.0.0.1:8080."""
        self.owner = replace(self.owner, address=address)
        _write_owner(self.path, self.owner)

    def mark(self) -> None:
        """Marks the folder as Nearfeed's, and ends what a broken `empty` has left."""
        marker = self.path / MARKER
        if not marker.exists():
            self._is_ours_alone = not (self.path / DATABASE).exists()
            _write_new(marker, _IN_ORDER)
        elif marker.read_text() == _BEING_EMPTIED:
            self.empty()

    def empty(self) -> None:
        """Removes all data. Broken off in the middle, it is ended when the folder is next held.

        Raises NearfeedError for a folder that had no mark when this process took hold of it.
        """
        if not self._is_ours_alone:
            raise NearfeedError(f"{self.path} may hold more than Nearfeed's data; remove it yourself.")
        _write_new(self.path / MARKER, _BEING_EMPTIED)
        for path in self.path.iterdir():
            if path.name in (MARKER, LOCK, OWNER):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        _write_new(self.path / MARKER, _IN_ORDER)


@contextmanager
def hold(path: Path) -> Iterator[DataFolder]:
    """Makes this process the owner of a data folder, which is made where it is missing.

    Raises FolderInUseError, and NearfeedError for a folder that holds something else.
    """
    _make_folder(path)
    lock = _lock(path)
    try:
        folder = DataFolder(path, Owner(os.getpid(), secrets.token_urlsafe(32)))
        _write_owner(path, folder.owner)
        folder.mark()
        yield folder
    finally:
        (path / OWNER).unlink(missing_ok=True)
        lock.release()


def _lock(path: Path) -> FileLock:
    lock = FileLock(path / LOCK, timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise FolderInUseError(path, read_owner(path)) from None
    except OSError as error:
        raise _unusable(path, error) from None
    return lock


def read_owner(path: Path) -> Owner | None:
    """Who said last that they hold the folder; it holds only while the lock is taken."""
    try:
        return Owner(**json.loads((path / OWNER).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise _unusable(path, error) from None
    own = {LOCK, OWNER, f"{MARKER}.part", f"{OWNER}.part"}
    if names - own and not names & {MARKER, DATABASE}:
        raise NearfeedError(
            f"{path} holds files that are not Nearfeed's; name an empty or new folder with --data-dir."
        )


def _unusable(path: Path, error: OSError) -> NearfeedError:
    return NearfeedError(
        f"The data folder {path} cannot be used ({error.strerror}); name another with --data-dir."
    )


def _write_owner(path: Path, owner: Owner) -> None:
    _write_new(path / OWNER, json.dumps(asdict(owner)))


def _write_new(path: Path, text: str) -> None:
    """Puts a file in place whole, readable by its owner alone."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    part.replace(path)
