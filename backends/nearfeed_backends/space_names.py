"""What spaces are called on a server, where collections and indexes have names of few letters."""

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

_PREFIX = "nearfeed_"
_HASH = "[0-9a-f]{64}"
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]


@dataclass(frozen=True)
class SpaceNames:
    """The names of one installation: `nearfeed_HASH`, or `nearfeed_NAMESPACE_HASH`.

    A space's own name is hashed and kept as metadata. As hashes are of one length, no name of a
    namespace is one of another.
    """

    namespace: str = ""

    @property
    def prefix(self) -> str:
        """What all names of the installation begin with; those of some others may, too."""
        return f"{_PREFIX}{self.namespace}_" if self.namespace else _PREFIX

    def of(self, space: str) -> str:
        """The name for a space."""
        return self.prefix + hashlib.sha256(space.encode()).hexdigest()

    def has(self, name: str) -> bool:
        """Whether it is the name of a space of this installation."""
        return re.fullmatch(re.escape(self.prefix) + _HASH, name) is not None
