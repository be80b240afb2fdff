"""Trains in a child process, which touches SQL and run files alone."""

import os
import subprocess
import sys
from pathlib import Path

from nearfeed_contracts.errors import NearfeedError


def train(data_dir: Path, epochs: int | None) -> None:
    """Writes a run of the data in the folder. Raises NearfeedError where the child fails."""
    command = [sys.executable, "-m", "nearfeed_standalone.demo.child", "train"]
    if epochs is not None:
        command += ["--epochs", str(epochs)]
    environment = os.environ | {"NEARFEED_DATA_DIR": str(data_dir.absolute()), "DGLBACKEND": "pytorch"}
    child = subprocess.run(command, env=environment, check=False)  # noqa: S603
    if child.returncode:
        raise NearfeedError(f"Training ended with status {child.returncode}; its last lines above say why.")
