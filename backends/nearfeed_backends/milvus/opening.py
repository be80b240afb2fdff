"""Milvus Lite in this process, and Milvus servers: what differs between the two."""

import logging
import tempfile
import threading
from contextlib import nullcontext
from typing import Any
from urllib.parse import unquote, urlsplit

from pymilvus import MilvusClient, MilvusException

from nearfeed_backends.errors import VECTORS, BackendSettingError, missing_driver
from nearfeed_backends.milvus.collections import load_collection
from nearfeed_backends.milvus.index import MilvusGraph, MilvusSettings
from nearfeed_backends.milvus.lite_folder import check_files, collections_in, damaged, remove_unfinished
from nearfeed_backends.milvus.store import MilvusStore
from nearfeed_backends.space_names import SpaceNames
from nearfeed_backends.url_settings import host_and_port, url_settings
from nearfeed_contracts.vector_store import StoreUnavailableError

# A search reads unflushed rows one by one in Python: 25 microseconds each.
_LITE_FLUSH_ROWS = 256
# Within one process nothing can be cut off, and the engine answers idle pings by closing the channel.
_NO_PINGS = {"grpc.keepalive_time_ms": 2**31 - 1}
# A server seals and indexes by itself in time; this brings the graph of a loaded space sooner.
_SERVER_FLUSH_ROWS = 50_000
_CONNECT_SECONDS = 5
# A restarted server is found again within a second. A connection that has died in silence is given up
# when a ping is not answered, for which gRPC waits a minute unless it is told otherwise.
_RECONNECTING = {
    "grpc.http2.ping_timeout_ms": 5_000,
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.min_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 1_000,
}
_DEFAULT_PORT = 19530


def open_lite(path: str) -> MilvusStore:
    """Milvus Lite on the folder `path`, which one process holds at a time.

    An upsert survives the end of the process from its return on; a power cut may take what was
    written in the last half minute. The engine is reached through a socket in a folder of its user.
    """
    _quieten()
    engine = _LiteEngine(path)
    try:
        client = MilvusClient(uri=engine.uri, grpc_options=_NO_PINGS)
        _load_all(client, path)
    except BaseException:
        engine.stop()
        raise
    # Milvus Lite allows no write beside another, and hides rows from a search while it flushes.
    return MilvusStore(client, flush_rows=_LITE_FLUSH_ROWS, make_lock=threading.Lock, on_close=engine.stop)


def open_server(url: str) -> MilvusStore:
    """A Milvus server by `milvus://HOST:PORT?…`. Raises StoreUnavailableError if it does not answer."""
    _quieten()
    settings = url_settings(VECTORS, url, MilvusSettings)
    host, port = host_and_port(VECTORS, url, _DEFAULT_PORT)
    parts = urlsplit(url)
    try:
        client = MilvusClient(
            uri=f"{'https' if settings.secure else 'http'}://{host}:{port}",
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            db_name=parts.path.strip("/"),
            timeout=_CONNECT_SECONDS,
            dedicated=True,
            grpc_options=_RECONNECTING,
        )
    except MilvusException as error:
        raise StoreUnavailableError(
            f"{VECTORS}: no Milvus answers at {host}:{port} ({error.message}); "
            "start it, or correct the address."
        ) from error
    return MilvusStore(
        client,
        flush_rows=_SERVER_FLUSH_ROWS,
        make_lock=nullcontext,
        names=SpaceNames(settings.namespace),
        graph=MilvusGraph(client, settings),
    )


class _LiteEngine:
    """Milvus Lite behind a Unix socket that only this user can reach."""

    def __init__(self, path: str) -> None:
        # The address of a Unix socket has room for 107 bytes, which a data folder's path may exceed.
        self._folder = tempfile.TemporaryDirectory(prefix="nearfeed-", ignore_cleanup_errors=True)
        socket = f"{self._folder.name}/milvus"
        self.uri = f"unix:{socket}"
        self._server, self._database = _start(path, socket)

    def stop(self) -> None:
        self._server.stop(grace=2).wait()
        self._database.close()
        self._folder.cleanup()


def _start(path: str, socket: str) -> tuple[Any, Any]:
    try:
        from milvus_lite.adapter.grpc.server import start_server_in_thread
        from milvus_lite.exceptions import DataDirLockedError
    except ModuleNotFoundError:
        raise missing_driver(VECTORS, "milvus-lite:", "milvus-lite") from None
    try:
        remove_unfinished(path)
        server, database, _ = start_server_in_thread(path, host="unix", port=socket)
    except DataDirLockedError:
        raise BackendSettingError(
            f"{VECTORS}: {path} is in use by another process; end it, or name another folder."
        ) from None
    except OSError as error:
        raise BackendSettingError(
            f"{VECTORS}: {path} cannot be used as a folder of vectors ({error.strerror}); name another."
        ) from error
    return server, database


def _load_all(client: MilvusClient, path: str) -> None:
    # Milvus Lite lists nothing while one collection is damaged, hence the look at the folder.
    for name in collections_in(path):
        try:
            load_collection(client, name)
            client.flush(name)
        except MilvusException as error:
            raise damaged(path, name, error.message) from error
        check_files(path, name)


def _quieten() -> None:
    # Both log every refused call with its stack; the callers of this package tell what matters.
    for name in ("pymilvus", "milvus_lite"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
