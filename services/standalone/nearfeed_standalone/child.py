"""The embedder's process as a child that ends with its parent, so that no two train beside each other.

Its first argument is the parent's process id; the others are those of `nearfeed-embedder`.
"""

import sys

from nearfeed_runtime.supervising import end_with


def main() -> None:
    end_with(int(sys.argv.pop(1)))
    # It takes seconds, in which the parent may die.
    from nearfeed_embedder.__main__ import main as embedder

    embedder()


if __name__ == "__main__":
    main()
