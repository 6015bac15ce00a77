"""The analysis file in tables, one for each block: what a key takes, what it is by default, and what it means."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from .json_schema import block_schema, plain_schema

_NUMBERS = ("integer", "number")
_HUGE = 1e9
"""Bounds beyond it are those of the machine, and say nothing to a reader."""
_BOUNDS = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "below", "maximum": "to"}
_OTHERS = {"boolean": "true or false", "string": "text", "object": "block"}
_A_NAME = "a name of letters"
_NAME = "NAME"
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def markdown() -> str:
    """Return the tables as Markdown; headings are key paths, in which ``NAME`` is a name of yours."""
    schema = plain_schema()
    blocks: dict[str, dict[str, Any]] = schema.pop("$defs")
    titles = _titles(schema, blocks)
    anchors = {name: _anchor(title) for name, title in titles.items()}
    parts = [_table(schema, anchors)]
    for name, title in titles.items():
        block = blocks[name]
        table = _table(block, anchors) if set(block.get("properties", {})) - {"type"} else "No options."
        parts.append(f"### {title}\n\n{block['description']}\n\n{table}")
    return "\n\n".join(parts) + "\n"


def _titles(root: dict[str, Any], blocks: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the heading of each block in the order of the file: its key paths, and its type where it has one."""
    paths: dict[str, list[str]] = {}

    def visit(block: dict[str, Any], path: str) -> None:
        for key, value in block.get("properties", {}).items():
            for suffix, name in _within(value):
                title = f"{path}{key}{suffix}"
                first = name not in paths
                if title not in paths.setdefault(name, []):
                    paths[name].append(title)
                if first:
                    visit(blocks[name], f"{title}.")

    visit(root, "")
    kinds = {name: block["properties"].get("type", {}).get("const") for name, block in blocks.items()}
    headings = {}
    for name, keys in paths.items():
        title = f"`{keys[0]}`" if len(keys) < 3 else f"`{keys[0]}` to `{keys[-1]}`"
        headings[name] = f"{title}, type `{kinds[name]}`" if kinds[name] else title
    return headings


def _within(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the blocks that a value may be or hold, with what their path has beside the key's."""
    if "$ref" in node:
        yield "", _name(node)
    for alternative in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _within(alternative)
    for key, value in node.get("properties", {}).items():
        yield from ((f".{key}{suffix}", name) for suffix, name in _within(value))
    if isinstance(node.get("items"), dict):
        yield from _within(node["items"])
    if isinstance(node.get("additionalProperties"), dict):
        yield from ((f".{_NAME}{suffix}", name) for suffix, name in _within(node["additionalProperties"]))


def _name(node: dict[str, Any]) -> str:
    return str(node["$ref"]).rpartition("/")[2]


def _anchor(title: str) -> str:
    """Return what GitHub, GitLab and mkdocs make of a heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title.lower())).strip("-")


def options(block: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    """Yield the keys of a block but ``type``, as plain text: name, what it takes, its default, and what it means."""
    schema = block_schema(block)
    anchors = dict.fromkeys(schema.get("$defs", ()), "")
    for cells in _rows(schema, anchors):
        key, takes, default, meaning = (_LINK.sub(r"\1", cell).replace("`", "").replace("**", "") for cell in cells)
        yield key, takes, default, meaning


def _table(block: dict[str, Any], anchors: dict[str, str]) -> str:
    rows = ["| key | takes | default | meaning |", "|---|---|---|---|"]
    for cells in _rows(block, anchors):
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows)


def _rows(block: dict[str, Any], anchors: dict[str, str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield key, what it takes, default and meaning, in Markdown."""
    required = set(block.get("required", ()))
    for key, value in block["properties"].items():
        if key != "type" or "const" not in value:
            default = "**required**" if key in required else _default(value)
            yield f"`{key}`", _takes(value, anchors), default, value.get("description", "")


def _default(node: dict[str, Any]) -> str:
    if node.get("default") in (None, "", [], {}):
        return ""
    default = node["default"]
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _takes(node: dict[str, Any], anchors: dict[str, str]) -> str:
    """Say what a value may be."""
    if "$ref" in node:
        return f"[block](#{anchors[_name(node)]})"
    if "oneOf" in node:
        kinds = node["discriminator"]["mapping"].items()
        return "block of type " + ", ".join(f"[{kind}](#{anchors[_name({'$ref': ref})]})" for kind, ref in kinds)
    if "anyOf" in node:
        kinds = dict.fromkeys(_takes(one, anchors) for one in node["anyOf"] if one.get("type") != "null")
        return " or ".join(kinds)
    if "enum" in node or "const" in node:
        return ", ".join(f"`{value}`" for value in node.get("enum", [node.get("const")]))
    if "type" in node.get("properties", {}):
        return "block of type `module:Class`"
    if "title" in node:
        return f"`{node['title']}`"
    if "properties" in node:
        return " or ".join(f"`{key}:` {_takes(value, anchors)}" for key, value in node["properties"].items())
    if node.get("type") == "array":
        return _list(node, anchors)
    if isinstance(node.get("additionalProperties"), dict):
        return f"`{_NAME}:` {_takes(node['additionalProperties'], anchors)}"
    return _scalar(node)


def _list(node: dict[str, Any], anchors: dict[str, str]) -> str:
    if "prefixItems" in node:
        return f"[{', '.join(_takes(one, anchors) for one in node['prefixItems'])}]"
    return f"list of {_takes(node['items'], anchors)}" if node.get("items") else "list"


def _scalar(node: dict[str, Any]) -> str:
    kind = str(node.get("type", "anything"))
    if kind in _NUMBERS:
        bounds = [
            f"{relation} {node[bound]:g}" for bound, relation in _BOUNDS.items() if abs(node.get(bound, _HUGE)) < _HUGE
        ]
        return " ".join([kind, *bounds])
    return "name" if _A_NAME in node.get("patternErrorMessage", "") else _OTHERS.get(kind, kind)
