"""Errors that every package may raise and every entry point shows to the user."""


class NearfeedError(Exception):
    """Something that the user can mend; its text is one sentence that says what and how."""


class NotFoundError(NearfeedError):
    """A name that nobody knows: a space, an item, a file."""


class ConflictError(NearfeedError):
    """A valid request that the present state does not allow."""


class BackendUnavailableError(NearfeedError):
    """A back end that does not answer now; the same call may go through later."""


def public_message(error: Exception, otherwise: str) -> str:
    """What a client may read of an error: the text of a NearfeedError, else `otherwise`."""
    return str(error) if isinstance(error, NearfeedError) else otherwise
