"""An analysis file as it is written: the line of every key, and words that YAML reads as something else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import yaml

from ..errors import UserError
from .limits import check_aliases

_STR, _NULL, _BOOL, _INT, _FLOAT, _MERGE, _VALUE = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "null", "bool", "int", "float", "merge", "value")
)
_EXPONENT = re.compile(r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+")
_OCTAL, _SEXAGESIMAL = re.compile(r"[-+]?0[0-9_]*[0-9]"), re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_REMEDIES = {
    "mapping values are not allowed": "a text with ': ' in it needs quotes, and keys of a block begin in one column",
    "cannot start any token": "a text that begins so needs quotes",
    "undefined alias": "a text that begins with '*' needs quotes",
    "could not determine a constructor": "a text that begins with '!' needs quotes",
}


class AnalysisText:
    """The nodes of a YAML text; ``content`` is the text.

    Parameters
    ----------
    text
        The text.
    source
        The name of the file, for messages.

    Raises
    ------
    UserError
        When the text is not YAML, a key is no text or stands twice, or a number is written in a way that YAML reads as
        another one.
    """

    def __init__(self, text: str, source: str) -> None:
        self.content = text
        self._place = source
        try:
            self._root = yaml.compose(text, _Loader)
            check_aliases(self._root, source)
            for node, path in _nodes(self._root, (), set()):
                self._check(node, path)
        except yaml.YAMLError as error:
            raise UserError(f"{source}: not valid YAML: {yaml_problem(error, text)}") from None
        except RecursionError:
            raise UserError(f"{source}: blocks within blocks without end: that is no analysis") from None

    def line(self, path: Sequence[str]) -> int | None:
        """Return the line, from 1, of the key at the end of a path; None where the file does not have it."""
        key, _ = self._find(path)
        return None if key is None else key.start_mark.line + 1

    def written(self, path: Sequence[str]) -> str | None:
        """Return the value at the end of a path as it stands there; None for blocks, lists and quoted texts."""
        _, value = self._find(path)
        return value.value if isinstance(value, yaml.ScalarNode) and value.style in (None, "") else None

    def _find(self, path: Sequence[str]) -> tuple[yaml.Node | None, yaml.Node | None]:
        key, value = self._root, self._root
        for step in path:
            if isinstance(value, yaml.MappingNode):
                key, value = next(((k, v) for k, v in value.value if k.value == step), (None, None))
            elif isinstance(value, yaml.SequenceNode) and step.isdigit() and int(step) < len(value.value):
                key = value = value.value[int(step)]
            else:
                return None, None
        return key, value

    def _check(self, node: yaml.Node, path: tuple[str, ...]) -> None:
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node, path)
        elif isinstance(node, yaml.ScalarNode) and (number := _misread(node)) is not None:
            raise self._error(
                path,
                f"YAML reads {node.value} as {number}: write it without leading zeros or colons, or quote it",
                node,
            )

    def _check_keys(self, node: yaml.MappingNode, path: tuple[str, ...]) -> None:
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(path, "a key has to be a name, and this is a list or block", key)
            key_path = (*path, key.value)
            if key.tag in (_NULL, _BOOL):
                meaning = _meaning(key) if key.value else "nothing"
                raise self._error(key_path, f"YAML reads this key as {meaning}: quote it, '{key.value}'", key)
            if key.tag in (_INT, _FLOAT) and node.flow_style and value.tag == _NULL:
                raise self._error(key_path, "a comma begins the next key: write numbers with a point, as 1.5", key)
            if key.tag in (_INT, _FLOAT):
                raise self._error(key_path, f"a name begins with a letter: write s{key.value}, say", key)
            if key.tag != _MERGE and key.value in lines:
                both = f"lines {lines[key.value]} and {key.start_mark.line + 1}"
                raise UserError(f"{self._place}: {'.'.join(key_path)}: this key is there twice, in {both}: remove one")
            lines[key.value] = key.start_mark.line + 1

    def _error(self, path: Sequence[str], problem: str, node: yaml.Node) -> UserError:
        key = f"{'.'.join(path)}: " if path else ""
        return UserError(f"{self._place}: {key}{problem} (line {node.start_mark.line + 1})")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Resolves words as OmegaConf does: dates are texts, and 1e3 is a number."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_FLOAT, re.compile(f"^{_EXPONENT.pattern}$"), list("-+0123456789"))


def yaml_problem(error: yaml.YAMLError, text: str) -> str:
    """Say in one line where a text is not YAML, and why."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    remedy = next((f": {hint}" for part, hint in _REMEDIES.items() if part in problem), "")
    if mark is None:
        return f"{problem}{remedy}"
    lines = text.splitlines()
    if mark.line < len(lines) and re.match(r" *\t", lines[mark.line]):
        remedy = ": the line begins with a tab, and YAML wants blanks"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}{remedy}"


def _meaning(node: yaml.ScalarNode) -> str:
    if node.tag == _NULL:
        return "nothing"
    return "true" if node.value.lower() in ("yes", "on", "true") else "false"


def _misread(node: yaml.ScalarNode) -> str | None:
    """Return the number that YAML 1.1 makes of 0123 (octal) or 1:30 (sexagesimal); None for any other word."""
    text = node.value
    if node.tag not in (_INT, _FLOAT) or not (
        _SEXAGESIMAL.fullmatch(text) or (node.tag == _INT and _OCTAL.fullmatch(text))
    ):
        return None
    value = yaml.safe_load(text)
    return str(value)


def _nodes(
    node: yaml.Node | None, path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[yaml.Node, tuple[str, ...]]]:
    """Yield each node once, with its path; aliases are not followed again."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    yield node, path
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _nodes(value, (*path, str(key.value)), seen)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            yield from _nodes(value, (*path, str(i)), seen)
