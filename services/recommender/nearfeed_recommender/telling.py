"""What of an error may go out to whoever asked."""

from nearfeed_contracts.errors import NearfeedError


def told(error: Exception, otherwise: str) -> str:
    """The text of an error that was meant for people; of any other no more than `otherwise`."""
    return str(error) if isinstance(error, NearfeedError) else otherwise
