"""Where the vector databases of `make servers` are, for tests marked `server`."""

from tests.servers import server_port


def milvus_url(query: str = "") -> str:
    """A Milvus server's URL; without a server the test is skipped, or fails."""
    return f"milvus://127.0.0.1:{server_port('Milvus', 'NEARFEED_MILVUS_PORT', 19530)}{query}"


def opensearch_url(query: str = "") -> str:
    """An OpenSearch server's URL; without a server the test is skipped, or fails."""
    return f"opensearch://127.0.0.1:{server_port('OpenSearch', 'NEARFEED_OPENSEARCH_PORT', 19200)}{query}"
