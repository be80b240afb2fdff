"""Opens an OpenSearch server by its URL."""

import logging
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
from opensearchpy import ConnectionError, JSONSerializer, OpenSearch
from urllib3 import Timeout

from nearfeed_backends.errors import VECTORS
from nearfeed_backends.opensearch.errors import told
from nearfeed_backends.opensearch.mapping import OpenSearchSettings
from nearfeed_backends.opensearch.store import OpenSearchStore
from nearfeed_backends.url_settings import host_and_port, url_settings
from nearfeed_contracts.vector_store import StoreUnavailableError

_DEFAULT_PORT = 9200
_CONNECT_SECONDS = 0.25
_CONNECTIONS = 32


def open_opensearch(url: str) -> OpenSearchStore:
    """OpenSearch by `opensearch://HOST:PORT?…`. Raises StoreUnavailableError if it does not answer."""
    settings = url_settings(VECTORS, url, OpenSearchSettings)
    host, port = host_and_port(VECTORS, url, _DEFAULT_PORT)
    # It logs every refused call; the callers of this package tell what matters.
    logging.getLogger("opensearch").setLevel(logging.CRITICAL)
    client = OpenSearch(
        hosts=[{"host": host, "port": port}],
        http_auth=_account(url),
        use_ssl=settings.secure,
        verify_certs=settings.verify,
        ssl_show_warn=False,
        timeout=Timeout(connect=_CONNECT_SECONDS, read=settings.timeout),
        max_retries=0,
        pool_maxsize=_CONNECTIONS,
        http_compress=False,
        serializer=_Json(),
    )
    try:
        with told("all"):
            client.info(request_timeout=10)
    except StoreUnavailableError as error:
        client.close()
        cause = error.__cause__
        reason = cause.error if isinstance(cause, ConnectionError) else cause
        raise StoreUnavailableError(
            f"{VECTORS}: no OpenSearch answers at {host}:{port} ({reason}); start it, or correct the address."
        ) from error
    return OpenSearchStore(client, settings)


def _account(url: str) -> tuple[str, str] | None:
    parts = urlsplit(url)
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


class _Json(JSONSerializer):
    """Writes float32 in as many digits as bring the same number back."""

    def dumps(self, data: Any) -> Any:
        return (
            data if isinstance(data, str) else orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY).decode()
        )

    def loads(self, data: Any) -> Any:
        return orjson.loads(data)
