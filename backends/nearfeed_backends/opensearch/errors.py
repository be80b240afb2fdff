"""OpenSearch's errors as the port's."""

from collections.abc import Iterator
from contextlib import contextmanager

from opensearchpy import (
    AuthenticationException,
    AuthorizationException,
    ConnectionError,
    NotFoundError,
    OpenSearchException,
    RequestError,
    TransportError,
)

from nearfeed_backends.errors import VECTORS, BackendSettingError
from nearfeed_contracts.vector_store import StoreUnavailableError, UnknownSpaceError


@contextmanager
def told(space: str, closed: bool = False) -> Iterator[None]:
    """Raises what the port promises, with what to do where the user can mend it."""
    if closed:
        raise StoreUnavailableError(f"{VECTORS}: the vector store is closed.")
    try:
        yield
    except NotFoundError as error:
        raise unknown(space) from error
    except ConnectionError as error:
        raise StoreUnavailableError(f"{VECTORS}: OpenSearch does not answer ({error.error}).") from error
    except (AuthenticationException, AuthorizationException) as error:
        raise BackendSettingError(
            f"{VECTORS}: OpenSearch refuses the URL's user ({_reason(error)}); correct name and password."
        ) from error
    except RequestError as error:
        if "index.knn" in str(error.info):
            raise BackendSettingError(
                f"{VECTORS}: OpenSearch lacks the k-NN plugin; install opensearch-knn on its nodes."
            ) from error
        raise StoreUnavailableError(f"{VECTORS}: OpenSearch refused a call ({_reason(error)}).") from error
    except OpenSearchException as error:
        raise StoreUnavailableError(f"{VECTORS}: OpenSearch failed ({_reason(error)}).") from error


def unknown(space: str) -> UnknownSpaceError:
    """The error for a space without an index."""
    return UnknownSpaceError(f"there is no space {space} in the vector store.")


def _reason(error: OpenSearchException) -> str:
    if not isinstance(error, TransportError) or not isinstance(error.info, dict):
        return str(error)
    cause = error.info.get("error")
    return str(cause.get("reason", cause) if isinstance(cause, dict) else cause)
