"""Which process of a data-parallel training this is, as torchrun tells each one by its environment."""

import os


def size() -> int:
    """How many processes train together; 1 where torchrun started none."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """The number of this process, from 0; 0 leads."""
    return int(os.environ.get("RANK", 0)) if size() > 1 else 0


def local_rank() -> int:
    """The number of this process among those on this machine."""
    return int(os.environ.get("LOCAL_RANK", 0)) if size() > 1 else 0
