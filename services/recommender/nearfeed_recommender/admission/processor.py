"""Whether this process has processor time left."""

import threading
import time

_WINDOW_SECONDS = 0.1
_BUSY_SHARE = 0.3


class Processor:
    """Looks, at most ten times a second, at how much processor time the process took since the last look.

    A process with one interpreter lock computes on about one core: at three tenths of one it is busy. Calls
    that wait for a server take hardly any. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked = time.monotonic()
        self._used = time.process_time()
        self._is_busy = False

    def is_busy(self) -> bool:
        with self._lock:
            now = time.monotonic()
            passed = now - self._looked
            if passed >= _WINDOW_SECONDS:
                used = time.process_time()
                self._is_busy = used - self._used >= _BUSY_SHARE * passed
                self._looked, self._used = now, used
            return self._is_busy
