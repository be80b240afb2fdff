"""A document as it came, YAML or JSON, with the lines at which its parts stand."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from nearfeed_recommender.config.faults import ConfigError, Fault, Loc, path_of
from nearfeed_recommender.infra.strict_yaml import StrictLoader, describe_yaml_fault

_TOO_DEEP = "is nested too deeply"


@dataclass(frozen=True)
class Document:
    """What a document says; `root` has the lines of a YAML text, `name` is what errors call it.

    A text that is but one entry of the document stands `at` its place.
    """

    body: Any
    root: yaml.Node | None = None
    name: str = ""
    at: Loc = ()

    def line_of(self, loc: Loc) -> int | None:
        """The line at which a place, or else the nearest part around it, stands."""
        if self.root is None or loc[: len(self.at)] != self.at:
            return None
        node: yaml.Node | None = self.root
        line = self.root.start_mark.line
        for step in loc[len(self.at) :]:
            node, line = _child(node, step, line)
        return line + 1


def yaml_document(text: str, name: str = "") -> Document:
    """Raises ConfigError for what is no YAML, and for names that stand twice."""
    try:
        loader = StrictLoader(text)
        root = loader.get_single_node()
        if root is None:
            return Document({}, None, name)
        _refuse_twice(root, name)
        return Document(loader.construct_document(root), root, name)
    except RecursionError:
        raise ConfigError([Fault("", _TOO_DEEP)], name) from None
    except yaml.YAMLError as error:
        raise ConfigError([Fault("", describe_yaml_fault(error))], name) from None


def json_document(text: str) -> Document:
    """Raises ConfigError for what is no JSON, and for a name that stands twice."""
    try:
        return Document(json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant))
    except RecursionError:
        raise ConfigError([Fault("", _TOO_DEEP)]) from None
    except json.JSONDecodeError as error:
        raise ConfigError([Fault("", f"is no JSON: {error.msg}", error.lineno)]) from None


def yaml_of(body: Any) -> str:
    """A document as YAML, one value a line, in its own order."""
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=100)


def _child(node: yaml.Node | None, step: int | str, line: int) -> tuple[yaml.Node | None, int]:
    """What stands at a step below a node, and its line; None and `line` where nothing does."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark.line
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step].start_mark.line
    return None, line


def _refuse_twice(root: yaml.Node, name: str) -> None:
    faults = [
        Fault(path_of(loc), "stands twice", key.start_mark.line + 1) for loc, key in _twice(root, (), set())
    ]
    if faults:
        raise ConfigError(faults, name)


def _twice(node: yaml.Node, loc: Loc, visited: set[int]) -> Iterator[tuple[Loc, yaml.Node]]:
    """The keys that stand twice, each with its place; an anchored part is looked at once."""
    if id(node) in visited:
        return
    visited.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for place, child in enumerate(node.value):
            yield from _twice(child, (*loc, place), visited)
    if isinstance(node, yaml.MappingNode):
        seen: set[tuple[str, str]] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    yield (*loc, key.value), key
                seen.add((key.tag, key.value))
                yield from _twice(value, (*loc, key.value), visited)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError([Fault(name, "stands twice") for name in twice])
    return dict(pairs)


def _refuse_constant(constant: str) -> Any:
    raise ConfigError([Fault("", f"{constant} is no JSON")])
