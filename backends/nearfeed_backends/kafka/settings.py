"""What a kafka:// URL says: servers, how topics are made and named, and the client's own settings."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from nearfeed_backends.errors import LOG, BackendSettingError

FORM = "kafka://HOST:9092[,HOST:9092]?partitions=4"
_PORT = 9092
_CLIENT: dict[str, tuple[str, Callable[[str], Any]]] = {
    "security_protocol": ("security_protocol", str),
    "sasl_mechanism": ("sasl_mechanism", str),
    "sasl_username": ("sasl_plain_username", str),
    "sasl_password": ("sasl_plain_password", str),
    "ssl_cafile": ("ssl_cafile", str),
    "ssl_certfile": ("ssl_certfile", str),
    "ssl_keyfile": ("ssl_keyfile", str),
    "ssl_password": ("ssl_password", str),
    "ssl_check_hostname": ("ssl_check_hostname", lambda text: {"true": True, "false": False}[text]),
}
_MEMBER: dict[str, tuple[str, Callable[[str], Any]]] = {
    "session_timeout_ms": ("session_timeout_ms", int),
    "heartbeat_interval_ms": ("heartbeat_interval_ms", int),
}
_TOPIC = ("partitions", "replication")
_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True)
class KafkaSettings:
    """`partitions` and `replication` are for topics that Nearfeed makes; -1 is the cluster's default.

    `prefix` stands before the names of Nearfeed's topics and groups.
    `client` goes to every client of the driver, `member` to consumers.
    """

    servers: tuple[str, ...]
    partitions: int = 4
    replication: int = -1
    prefix: str = ""
    client: Mapping[str, Any] = field(default_factory=dict)
    member: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return ",".join(self.servers)


def read_url(url: str) -> KafkaSettings:
    """Raises BackendSettingError that names the part at fault; a password is never shown."""
    hosts, _, query = url.partition("://")[2].partition("?")
    given = _parameters(query)
    known = {*_TOPIC, "prefix", *_CLIENT, *_MEMBER}
    for name in given:
        if name not in known:
            raise BackendSettingError(
                f"{LOG}: there is no parameter {name!r}; use one of {', '.join(sorted(known))}."
            )
    counts = {name: _count(name, given[name]) for name in _TOPIC if name in given}
    client, member = _mapped(_CLIENT, given), _mapped(_MEMBER, given)
    return KafkaSettings(_servers(hosts), **counts, prefix=_prefix(given), client=client, member=member)


def _prefix(given: Mapping[str, str]) -> str:
    prefix = given.get("prefix")
    if prefix is None:
        return ""
    if not _PREFIX.fullmatch(prefix):
        raise BackendSettingError(
            f"{LOG}: prefix may hold letters, digits, dots, dashes and underscores, not {prefix!r}."
        )
    return prefix


def _servers(hosts: str) -> tuple[str, ...]:
    servers = [host.strip("/ ") for host in hosts.split(",")]
    if not all(servers) or "@" in hosts:
        raise BackendSettingError(f"{LOG}: a Kafka URL has the form {FORM}.")
    return tuple(server if _has_port(server) else f"{server}:{_PORT}" for server in servers)


def _has_port(server: str) -> bool:
    host, _, port = server.rpartition(":")
    if not host or server.endswith("]"):
        return False
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise BackendSettingError(f"{LOG}: {port!r} is no port; a Kafka URL has the form {FORM}.")
    return True


def _parameters(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else {}
    except ValueError:
        raise BackendSettingError(f"{LOG}: the part after '?' must be NAME=VALUE&NAME=VALUE.") from None


def _count(name: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise BackendSettingError(f"{LOG}: {name} must be a whole number from 1 on, not {text!r}.")
    return int(text)


def _mapped(
    table: Mapping[str, tuple[str, Callable[[str], Any]]], given: Mapping[str, str]
) -> dict[str, Any]:
    mapped = {}
    for name, (argument, convert) in table.items():
        if name in given:
            try:
                mapped[argument] = convert(given[name])
            except (KeyError, ValueError):
                raise BackendSettingError(f"{LOG}: {name} cannot be {given[name]!r}.") from None
    return mapped
