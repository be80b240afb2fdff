"""Trains in a child process, which touches SQL and run files alone."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nearfeed_contracts.errors import NearfeedError


def train(data_dir: Path, options: Mapping[str, Any]) -> None:
    """Writes a run of the data in the folder; `options` are those of `nearfeed train`, by name.

    Raises NearfeedError where the child fails.
    """
    parent = str(os.getpid())
    command = [sys.executable, "-m", "nearfeed_standalone.child", parent, "train", *words_of(options)]
    environment = os.environ | {"NEARFEED_DATA_DIR": str(data_dir.absolute()), "DGLBACKEND": "pytorch"}
    child = subprocess.run(command, env=environment, check=False)  # noqa: S603
    if child.returncode:
        raise NearfeedError(f"Training ended with status {child.returncode}; its last lines above say why.")


def words_of(options: Mapping[str, Any]) -> Iterator[str]:
    """Options as a command line has them: `text_epochs: 2` is `--text-epochs=2`, `force: true` is `--force`.

    An option of a list stands once for each of its values; one of None or false is left out.
    """
    for name, given in options.items():
        flag = f"--{name.replace('_', '-')}"
        for value in given if isinstance(given, list) else [given]:
            if value is True:
                yield flag
            elif value is not None and value is not False:
                yield f"{flag}={value}"
