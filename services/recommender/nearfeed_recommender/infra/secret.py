"""The secret behind request ids, cursors and hashes of erased readers."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from nearfeed_recommender.settings import RecommenderSettings


def load_secret(settings: RecommenderSettings) -> bytes:
    """The key of cursors and hashes: the setting, or one that is made once in the data folder."""
    if settings.secret:
        return settings.secret.encode()
    path: Path = settings.data_dir / "secret"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{secrets.token_hex(4)}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_hex(32))
        with suppress(FileExistsError):
            os.link(fresh, path)  # the first of several processes wins
        fresh.unlink()
    return path.read_text().encode()
