"""Random numbers for compiled walks: splitmix64 (Steele, Lea and Flood, OOPSLA 2014).

A state is a number; the next is `state + STEP`, and `mixed(state)` is its random number of 64 bits.
"""

from functools import partial
from typing import Any

import numpy as np
from numba import njit

# Compiled code runs beside other threads, and is kept on disk for the next process.
compiled = partial(njit, cache=True, nogil=True)

STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)


@compiled("uint64(uint64)")
def mixed(state: Any) -> Any:
    """The random number of a state."""
    state = (state ^ (state >> _30)) * _FIRST
    state = (state ^ (state >> _27)) * _SECOND
    return state ^ (state >> _31)
