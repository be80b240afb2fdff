"""What is wrong with a configuration: every fault with its path in the document and its line."""

from collections.abc import Sequence
from dataclasses import dataclass

from nearfeed_contracts.errors import ConflictError, NearfeedError

Loc = tuple[int | str, ...]
Found = tuple[Loc, str]  # a place in the document, and what is wrong there


@dataclass(frozen=True)
class Fault:
    """A fault at a path such as `pages.home.sections[1].provider`; `line` from 1, where it is known."""

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        where = f" (line {self.line})" if self.line else ""
        return f"{self.path}{where}: {self.message}" if self.path else f"{self.message}{where}"


class ConfigError(NearfeedError):
    """A configuration that cannot hold; its text has a line for each of the `faults`."""

    def __init__(self, faults: Sequence[Fault], name: str = "") -> None:
        prefix = f"{name}: " if name else ""
        super().__init__("\n".join(f"{prefix}{fault}." for fault in faults))
        self.faults = tuple(faults)


class StaleVersionError(ConflictError):
    """A change that was made to another version than the one that holds."""


def path_of(loc: Loc) -> str:
    """A place in the document as text, such as `providers.personal.slate[0].model`."""
    path = ""
    for step in loc:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path
