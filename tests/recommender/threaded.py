"""Work in several threads, whose errors are the test's."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


def at_once(*works: Callable[[], object]) -> None:
    """Does each in a thread of its own; raises the first error."""
    with _joined(works):
        pass


@contextmanager
def meanwhile(*works: Callable[[], object]) -> Iterator[None]:
    """Does each over and over, at least once, in a thread of its own until the block ends."""
    stop = threading.Event()

    def repeated(work: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            work()
            while not stop.is_set():
                work()

        return run

    with _joined([repeated(work) for work in works]):
        try:
            yield
        finally:
            stop.set()


@contextmanager
def _joined(works: Iterable[Callable[[], object]]) -> Iterator[None]:
    errors: list[BaseException] = []

    def reporting(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=reporting, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
