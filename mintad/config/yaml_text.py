"""YAML as people mean it, and bounded: what a file of a few bytes may become is decided before it is built."""

from __future__ import annotations

import re
from typing import Any

import yaml

MAX_DEPTH = 40
MAX_NODES = 100_000  # with every alias counted as what it stands for


class Loader(yaml.SafeLoader):
    """YAML 1.2's numbers and truth values: 010 is 10, 1e3 a number, 1:30 text, and so are yes, no, on and off.

    An error is raised where a key is given twice (PyYAML takes the second value), where an alias contains itself, and
    where the text nests more than `MAX_DEPTH` levels or unfolds to more than `MAX_NODES` nodes.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":int", ":float", ":bool"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.nodes = self.depth = 0
        self.sizes: dict[str, int] = {}  # anchor -> nodes of what it names, once that is complete

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        """Compose the next node, and count it."""
        event = self.peek_event()
        if self.check_event(yaml.AliasEvent):
            if event.anchor in self.anchors and event.anchor not in self.sizes:
                raise yaml.YAMLError(f"*{event.anchor} stands inside of what it names")
            self._count(self.sizes.get(event.anchor, 0), event)
            return super().compose_node(parent, index)
        before = self.nodes
        self._count(1, event)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.YAMLError(f"more than {MAX_DEPTH} levels (line {event.start_mark.line + 1})")
        node = super().compose_node(parent, index)
        self.depth -= 1
        if event.anchor:
            self.sizes[event.anchor] = self.nodes - before
        return node

    def _count(self, nodes: int, event: yaml.Event) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise yaml.YAMLError(f"more than {MAX_NODES} values (line {event.start_mark.line + 1})")

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of a node."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen and key.tag != _MERGE:
                raise yaml.YAMLError(f"key '{key.value}' is given twice (line {key.start_mark.line + 1})")
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_MERGE = "tag:yaml.org,2002:merge"
_READERS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true", "tTfF"),
    "int": (r"[-+]?[0-9][0-9_]*", lambda text: int(text.replace("_", "")), "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        lambda text: float(re.sub(r"_|\.(?=[in])", "", text.lower())),
        "-+.0123456789",
    ),
}
for _kind, (_pattern, _read, _first) in _READERS.items():
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^({_pattern})$"), list(_first))
    Loader.add_constructor(
        f"tag:yaml.org,2002:{_kind}", lambda loader, node, read=_read: read(loader.construct_scalar(node))
    )
