"""Back ends by URL. A driver is imported only when its scheme is asked for."""

from nearfeed_backends.database import open_database
from nearfeed_backends.errors import LOG, VECTORS, missing_driver, unknown_scheme
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.vector_store import VectorStore

__all__ = ["open_database", "open_log", "open_store"]

_STORES = ["milvus-lite:///PATH", "milvus://HOST:19530", "memory://"]
_LOGS = ["embedded:///PATH"]


def open_log(url: str) -> EventLog:
    """The log of a URL. Raises BackendSettingError that says what to mend."""
    scheme, _, path = url.partition("://")
    if scheme != "embedded" or not path:
        raise unknown_scheme(LOG, url, _LOGS)
    from nearfeed_backends.embedded_log import EmbeddedLog

    return EmbeddedLog(path)


def open_store(url: str) -> VectorStore:
    """The vector store of a URL. Raises BackendSettingError that says what to mend."""
    scheme, _, rest = url.partition("://")
    if scheme == "memory":
        from nearfeed_backends.numpy_store import NumpyStore

        return NumpyStore()
    if scheme not in ("milvus-lite", "milvus") or not rest:
        raise unknown_scheme(VECTORS, url, _STORES)
    try:
        from nearfeed_backends.milvus_opening import open_lite, open_server
    except ModuleNotFoundError as error:
        if error.name != "pymilvus":
            raise
        raise missing_driver(VECTORS, url, "pymilvus") from None
    return open_lite(rest) if scheme == "milvus-lite" else open_server(url)
