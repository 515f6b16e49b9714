"""Where things stand in a YAML text: its nodes beside its value, so that a mistake can be told with its line.

node, value = composed(text)
_, node = child(node, "rules")
node.start_mark.line
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def composed(text: str) -> tuple[Any, Any]:
    """The root node and the value; None and None of an empty text. Raises yaml.YAMLError."""
    loader = _LOADER(text)
    node = loader.get_single_node()
    return node, loader.construct_document(node) if node is not None else None


def child(node: Any, step: str | int) -> tuple[Any, Any]:
    """The node below a key or at an index, and before it the key's own node, which an item has not; None if missing."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == str(step)), (None, None))
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return None, node.value[step]
    return None, None


def scalars(node: Any, *, keys: bool = False) -> Iterator[yaml.ScalarNode]:
    """Every scalar below a node, in order; with `keys` those that are keys too."""
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for part in node.value:
            yield from scalars(part, keys=keys)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if keys:
                yield from scalars(key, keys=keys)
            yield from scalars(value, keys=keys)
