"""YAML as people write it by hand: what its own rules would pass over in silence is a fault."""

from collections.abc import Hashable
from typing import Any

import yaml


class StrictLoader(yaml.SafeLoader):
    """Refuses a name that stands twice, of which YAML's own rule would keep the last in silence."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # a time or a number in form, as in 2026-13-01, that is none
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value} cannot be read ({error}); put it in quotes", node.start_mark
            ) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} stands twice", key_node.start_mark
                )
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


def describe_yaml_fault(error: Exception) -> str:
    """Where a text is no YAML, and why."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    unreadable = error.reason if isinstance(error, yaml.reader.ReaderError) else None
    return f"{where}{getattr(error, 'problem', None) or unreadable or 'is no YAML'}"
