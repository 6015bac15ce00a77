"""How large an analysis may become: aliases (``*name``) and interpolations (``${key}``) can multiply without end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from ..errors import UserError

MOST = 1_000_000
"""Values, counted with all repetitions: 100 times those of an analysis with 5,000 files."""
_REFERENCE = re.compile(r"\$\{([^${}]*)\}")


def check_aliases(root: yaml.Node | None, source: str) -> None:
    """Raise a :class:`UserError` where a YAML text would hold too much once its aliases are expanded."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = 1 + sum(map(size, _children(node)))
        return sizes[id(node)]

    if root is not None and size(root) > MOST:
        raise UserError(f"{source}: its aliases (*name) make more than {MOST:,} values of it: that is no analysis")


def check_interpolations(content: Any, source: str) -> None:
    """Raise a :class:`UserError` where plain content would hold too much once its interpolations are resolved."""
    sizes: dict[tuple[str, ...], int] = {}

    def size(value: Any, path: tuple[str, ...]) -> int:
        if path not in sizes:
            sizes[path] = 1  # a reference to itself, which OmegaConf refuses, costs no more
            inner = sum(size(item, (*path, str(key))) for key, item in _items(value))
            outer = sum(size(*target) for target in _targets(value, path, content)) if isinstance(value, str) else 0
            sizes[path] = 1 + inner + outer
        return sizes[path]

    if size(content, ()) > MOST:
        raise UserError(f"{source}: its interpolations (${{key}}) make more than {MOST:,} values of it: write them out")


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [item for pair in node.value for item in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _targets(text: str, path: tuple[str, ...], content: Any) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Yield what the interpolations of a text refer to, with its path; leading points are steps up from its block."""
    for match in _REFERENCE.finditer(text):
        name = match[1].replace("[", ".").replace("]", "")
        key = name.lstrip(".")
        up = len(name) - len(key)
        steps = (*(path[: len(path) - up] if up else ()), *filter(None, key.split(".")))
        value = content
        for step in steps:
            if isinstance(value, list) and step.isdigit() and int(step) < len(value):
                value = value[int(step)]
            else:
                value = value.get(step) if isinstance(value, dict) else None
        if value is not None:
            yield value, steps
