"""A child process that ends with its parent, also when that is killed."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Makes this process get SIGTERM when the thread that started it ends; only Linux can do that.

    Raises SystemExit where the parent, by its process id, has ended already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(f"The process {parent} that has started this one is gone.")
