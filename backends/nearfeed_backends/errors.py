"""What every back end raises when its URL setting leads nowhere."""

from nearfeed_contracts.errors import NearfeedError

DATABASE = "NEARFEED_DATABASE_URL"
LOG = "NEARFEED_LOG_URL"
VECTORS = "NEARFEED_VECTORS_URL"


class BackendSettingError(NearfeedError):
    """A URL setting that opens no back end; the text names the setting and the remedy."""


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
