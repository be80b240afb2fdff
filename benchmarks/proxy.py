"""A TCP proxy in front of a server, which can be cut off without touching the server."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK = 1 << 16


class Proxy:
    """Passes connections on to a port of this host, until it is told to refuse or to be silent.

    Connections that were silenced stay so for ever, as where a firewall forgets them.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._silent = False
        self._listener: socket.socket | None = None
        self.port = 0
        self._listen()

    def refuse(self) -> None:
        """As a server that was ended: its connections break, and new ones are refused."""
        listener, self._listener = self._listener, None
        if listener:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for pair in self._taken():
            pair.close()

    def be_silent(self) -> None:
        """As a server behind a broken network: connections are accepted and nothing is ever answered."""
        with self._lock:
            self._silent = True
            for pair in self._pairs:
                pair.silent = True

    def pass_on(self) -> None:
        """Heals: new connections reach the server."""
        with self._lock:
            self._silent = False
        if self._listener is None:
            self._listen()

    def close(self) -> None:
        self.refuse()

    def _taken(self) -> "list[_Pair]":
        with self._lock:
            pairs, self._pairs = self._pairs, []
        return pairs

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # closed by `refuse`
            while True:
                client, _ = listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                self._join(client, server)

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        pair = _Pair(client, server)
        with self._lock:
            pair.silent = self._silent
            self._pairs.append(pair)
        pair.start()


class _Pair:
    """The two ends of a connection."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._ends = (client, server)
        self.silent = False
        for end in self._ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        for source, sink in (self._ends, self._ends[::-1]):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def close(self) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if not self.silent:
                    sink.sendall(data)
        if not self.silent:
            self.close()


@contextmanager
def proxied(target: int) -> Iterator[Proxy]:
    """A proxy in front of a port of this host."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
