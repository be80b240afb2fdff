"""What the query of a URL sets, such as `milvus://host:19530?ef=1024`."""

from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from nearfeed_backends.errors import BackendSettingError


class UrlSettings(BaseModel):
    """The base of a back end's settings, each with its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=UrlSettings)


def url_settings(setting: str, url: str, model: type[S]) -> S:
    """The settings in a URL's query. Raises BackendSettingError that names the first one at fault."""
    try:
        return model.model_validate(dict(parse_qsl(urlsplit(url).query, keep_blank_values=True)))
    except ValidationError as error:
        fault = error.errors()[0]
        name, known = fault["loc"][0], ", ".join(model.model_fields)
        problem = "is unknown" if fault["type"] == "extra_forbidden" else f"is wrong ({fault['msg']})"
        raise BackendSettingError(f"{setting}: {name} {problem}; the URL may set {known}.") from error


def host_and_port(setting: str, url: str, default_port: int) -> tuple[str, int]:
    """Raises BackendSettingError for a URL without a host or with a port that is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        scheme = url.partition(":")[0]
        raise BackendSettingError(f"{setting}: name a host, as in {scheme}://HOST:{default_port}.")
    return host, port or default_port
