"""Back ends by URL. A driver is imported only when its scheme is asked for."""

from collections.abc import Callable

from nearfeed_backends.errors import LOG, VECTORS, missing_driver, unknown_scheme
from nearfeed_backends.sql.database import open_database
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.vector_store import VectorStore

__all__ = ["open_database", "open_log", "open_store"]

_STORES = [
    "faiss:///PATH",
    "milvus-lite:///PATH",
    "milvus://HOST:19530",
    "opensearch://HOST:9200",
    "memory://",
]
_LOGS = ["embedded:///PATH", "kafka://HOST:9092"]


def open_log(url: str) -> EventLog:
    """The log of a URL. Raises BackendSettingError that says what to mend."""
    scheme, _, path = url.partition("://")
    if scheme == "kafka" and path:
        return _open_kafka(url)
    if scheme != "embedded" or not path:
        raise unknown_scheme(LOG, url, _LOGS)
    from nearfeed_backends.embedded.log import EmbeddedLog

    return EmbeddedLog(path)


def _open_kafka(url: str) -> EventLog:
    from nearfeed_backends.kafka.prefix import PrefixedLog
    from nearfeed_backends.kafka.settings import read_url

    settings = read_url(url)
    try:
        from nearfeed_backends.kafka.log import KafkaLog
    except ModuleNotFoundError as error:
        if error.name != "kafka":
            raise
        raise missing_driver(LOG, url, "kafka-python") from None
    log: EventLog = KafkaLog(settings)
    return PrefixedLog(log, settings.prefix) if settings.prefix else log


def open_store(url: str) -> VectorStore:
    """The vector store of a URL. Raises BackendSettingError that says what to mend."""
    scheme, _, rest = url.partition("://")
    if scheme == "memory":
        from nearfeed_backends.embedded.numpy_store import NumpyStore

        return NumpyStore()
    if scheme not in _OPENERS or not rest:
        raise unknown_scheme(VECTORS, url, _STORES)
    packages, open_ = _OPENERS[scheme]
    try:
        return open_(url)
    except ModuleNotFoundError as error:
        if error.name not in packages:
            raise
        raise missing_driver(VECTORS, url, _DISTRIBUTIONS.get(error.name, error.name)) from None


def _faiss(url: str) -> VectorStore:
    from nearfeed_backends.embedded.faiss_store import FaissStore

    return FaissStore(url.partition("://")[2])


def _milvus_lite(url: str) -> VectorStore:
    from nearfeed_backends.milvus.opening import open_lite

    return open_lite(url.partition("://")[2])


def _milvus(url: str) -> VectorStore:
    from nearfeed_backends.milvus.opening import open_server

    return open_server(url)


def _opensearch(url: str) -> VectorStore:
    from nearfeed_backends.opensearch.opening import open_opensearch

    return open_opensearch(url)


_DISTRIBUTIONS = {"faiss": "faiss-cpu", "opensearchpy": "opensearch-py"}
_OPENERS: dict[str, tuple[tuple[str, ...], Callable[[str], VectorStore]]] = {
    "faiss": (("faiss", "filelock"), _faiss),
    "milvus-lite": (("pymilvus",), _milvus_lite),
    "milvus": (("pymilvus",), _milvus),
    "opensearch": (("opensearchpy",), _opensearch),
}
