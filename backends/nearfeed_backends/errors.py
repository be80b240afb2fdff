"""What every back end raises when its URL setting leads nowhere."""

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.event_log import LogUnavailableError

DATABASE = "NEARFEED_DATABASE_URL"
LOG = "NEARFEED_LOG_URL"
VECTORS = "NEARFEED_VECTORS_URL"


class BackendSettingError(NearfeedError):
    """A URL setting that opens no back end; the text names the setting and the remedy."""


class OtherLogError(LogUnavailableError):
    """The log ends before the position of a group: it is not the log that the group read."""

    @classmethod
    def of(cls, topic: str, end: int, group: str, position: int) -> "OtherLogError":
        return cls(
            f"{LOG}: topic {topic} ends at {end}, but group {group} has read up to {position}; "
            "put back the log that belongs to the database, or start with an empty database."
        )


def unknown_scheme(setting: str, url: str, known: list[str]) -> BackendSettingError:
    """The error for a URL whose scheme no back end answers to."""
    scheme = url.partition(":")[0]
    return BackendSettingError(f"{setting}: there is no back end {scheme!r}; use one of {', '.join(known)}.")


def missing_driver(setting: str, url: str, package: str) -> BackendSettingError:
    """The error for a back end whose driver is not installed."""
    scheme = url.partition(":")[0]
    return BackendSettingError(
        f"{setting}: the driver of {scheme} is not installed; run `pip install {package}` or choose another."
    )
