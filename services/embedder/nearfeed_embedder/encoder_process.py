"""The process that encodes posts for another: it holds torch, and ends when it has had nothing to do.

It reads requests from an inherited connection: the URL of a run and posts. It answers each with the vectors
and contexts, or with the text of an error. It also ends when its parent has closed the connection or died.
"""

import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection

from nearfeed_contracts.runs import open_run
from nearfeed_embedder.dataset import Post
from nearfeed_embedder.stream import Encoded, PostEncoder

_NICENESS = 5  # who reads a feed waits, who writes a post does not


def main() -> None:
    """Arguments: the number of the connection, the device, and after how many idle seconds to end."""
    number, device, idle_seconds = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the parent as well
    os.nice(_NICENESS)
    with Connection(int(number)) as connection:
        _serve(connection, _Encoders(device), float(idle_seconds))


def _serve(
    connection: "Connection[object, tuple[str, Sequence[Post]]]", encoders: "_Encoders", idle: float
) -> None:
    while connection.poll(idle):
        try:
            run_url, posts = connection.recv()
        except EOFError:
            return
        try:
            answer: Encoded | str = encoders.encode(run_url, posts)
        except Exception as error:
            answer = str(error) or type(error).__name__
        connection.send(answer)


class _Encoders:
    """Encoders by the URL of their run, opened by their first posts."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._opened: dict[str, PostEncoder] = {}

    def encode(self, run_url: str, posts: Sequence[Post]) -> Encoded:
        """One that fails is opened again the next time: its files may be back then."""
        encoder = self._opened.pop(run_url, None) or self._open(run_url)
        encoded = encoder.encode(posts)
        self._opened[run_url] = encoder
        return encoded

    def _open(self, run_url: str) -> PostEncoder:
        # torch takes seconds to import, in which a request can be on its way already.
        from nearfeed_embedder.devices import device_of
        from nearfeed_embedder.encoder import load_encoder

        encoder = load_encoder(open_run(run_url, verify=False), device_of(self._device))
        if encoder is None:
            raise LookupError(f"{run_url} has no encoder")
        return encoder


if __name__ == "__main__":
    main()
