"""The embedder's process as a child that ends with its parent, also when that is killed.

Its first argument is the parent's process id; the others are those of `nearfeed-embedder`.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Otherwise it would train on beside the child of the next call. Linux alone can tell a child of a death.

    A parent that has died before it was asked for is told by the process that has taken its place.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(f"The process {parent} that has asked for this one is gone.")


def main() -> None:
    end_with(int(sys.argv.pop(1)))
    # It takes seconds, in which the parent may die.
    from nearfeed_embedder.__main__ import main as embedder

    embedder()


if __name__ == "__main__":
    main()
