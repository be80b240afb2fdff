"""The embedder's process as a child that ends with its parent, also when that is killed."""

import ctypes
import signal
import sys

from nearfeed_embedder.__main__ import main

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Otherwise it would train on beside the child of the next call. Linux alone can do this."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    end_with_parent()
    main()
