"""The process `nearfeed`."""

import signal
import sys

from nearfeed_runtime.process import exit_on_error
from nearfeed_standalone.cli import make_app


def main() -> None:
    # What is open shall be closed in order, also where no server handles the signal.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with exit_on_error():
        make_app()()


if __name__ == "__main__":
    main()
