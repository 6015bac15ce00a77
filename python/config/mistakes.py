"""What pydantic finds wrong in an analysis, in words of the analysis file."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ..errors import nearest
from .keyed import Keyed
from .text import AnalysisText
from .typed import Typed

Path = tuple[str, ...]
_EXPECTED = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_parsing_size": "an integer of fewer digits",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a block of 'key: value' lines",
    "model_type": "a block of 'key: value' lines",
    "model_attributes_type": "a block of 'key: value' lines",
}
"""What should stand in the place of a value, by pydantic's kind of error."""
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")


def explain(errors: Sequence[Any], root: type[BaseModel], text: AnalysisText | None = None) -> str:
    """Say the first problem in one line: key path, what was expected, what is there, and in which line.

    Parameters
    ----------
    errors
        What pydantic found, ``ValidationError.errors()``.
    root
        The model that it was looking at.
    text
        The file as it is written, where there is one.
    """
    by_path: dict[Path, tuple[list[Any], type[BaseModel] | None]] = {}
    for problem in errors:
        parent, keys = _walk(problem["loc"], root)
        if problem["type"].startswith("union_tag"):
            keys.append("type")
        by_path.setdefault(tuple(keys), ([], parent))[0].append(problem)
    # of the alternatives of a union, the one that got furthest is the one that was meant
    mistakes = {k: v for k, v in by_path.items() if not any(k == other[: len(k)] for other in by_path if other != k)}
    path = next((k for k, (p, _) in mistakes.items() if p[0]["type"] == "extra_forbidden"), next(iter(mistakes)))
    problems, parent = mistakes[path]
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    prefix = f"{'.'.join(path) or repr('')}: " if path else ""
    written = text.written(path) if text is not None else None
    message = prefix + _complaint(problems, parent, path, written)
    # a check of several blocks names the key itself
    line = text.line(path or message.partition(":")[0].split(".")) if text is not None else None
    return message + ("" if line is None else f" (line {line})") + more


def _complaint(problems: list[Any], parent: type[BaseModel] | None, path: Path, written: str | None) -> str:
    """Say what is wrong at one place, where every alternative of a union has its own problem."""
    kind, context = problems[0]["type"], problems[0].get("ctx", {})
    if kind == "extra_forbidden":
        fields = list(parent.model_fields) if parent else []
        return "unknown key" + (nearest(path[-1], fields) or f"; known here: {', '.join(fields) or 'none'}")
    if kind in ("missing", "union_tag_not_found"):
        return "this key is required"
    if kind == "union_tag_invalid":
        tags = [tag.strip("' ") for tag in context["expected_tags"].split(",")]
        return f"{context['tag']!r} is unknown{nearest(context['tag'], tags) or '; known: ' + ', '.join(tags)}"
    # an alternative of the right type that fails at something else is the one that was meant
    problem = next((p for p in problems if _expected(p) is None), None)
    expected = [] if problem else list(dict.fromkeys(_expected(p) or "" for p in problems))
    message = _requirement(problem) if problem else f"should be {' or '.join(expected)}"
    return message + _hint(problems) + _given(problems[0]["input"], written, "a text" in expected)


def _expected(problem: Any) -> str | None:
    """Return what should stand there, as a noun; None where the problem is of another sort."""
    if problem["type"] == "literal_error":
        return str(problem["ctx"]["expected"])
    return _EXPECTED.get(problem["type"])


def _requirement(problem: Any) -> str:
    """Return what a value of the right type fails at."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in _BOUNDS:
        name, relation = _BOUNDS[kind]
        return f"should be {relation} {context[name]:g}"
    if kind in ("too_short", "string_too_short"):
        least = context["min_length"]
        return "is empty: give at least 1" if least == 1 else f"needs at least {least} entries"
    if kind in ("value_error", "assertion_error"):
        return str(problem["msg"].partition(", ")[2])
    return "this cannot stand here"


def _hint(problems: list[Any]) -> str:
    """Name the nearest of the words that are allowed, or how a number is written."""
    value = problems[0]["input"]
    if not isinstance(value, str):
        return ""
    choices = [
        w for p in problems if p["type"] == "literal_error" for w in re.findall(r"'([^']+)'", p["ctx"]["expected"])
    ]
    if _DECIMAL_COMMA.fullmatch(value):
        return f": write {value.replace(',', '.')}, with a point"
    return nearest(value, choices)


def _given(value: Any, written: str | None, text_expected: bool) -> str:
    """Show what is there, as it is written in the file, and how it becomes a text where it should be one."""
    if not isinstance(value, (str, int, float, bool)):
        return "" if value is not None else " (it is empty)"
    if isinstance(value, str) or written is None or not text_expected:
        return f" (given: {value!r})" if written is None or isinstance(value, str) else f" (given: {written})"
    if isinstance(value, bool):
        return f" (given: {written}, which YAML reads as {str(value).lower()}: quote it, '{written}')"
    return f" (given: {written}, which YAML reads as a number: quote it, '{written}')"


# -- from pydantic's location to the path of a key ---------------------------------------------------------------------


def _walk(location: tuple[int | str, ...], root: type[BaseModel]) -> tuple[type[BaseModel] | None, list[str]]:
    """Follow pydantic's error location; drop the steps that only say which alternative of a union was tried."""
    parent: type[BaseModel] | None = None
    node: Any = root
    keys: list[str] = []
    for step in location:
        typed = _typed(node)
        if typed is not None:  # the step names the alternative
            node = typed.options(str(step))
            keys += [str(step)] if isinstance(typed, Keyed) else []
            continue
        branches = alternatives(node)
        if step == "[key]":  # pydantic's mark for a key that is wrong itself
            continue
        if len(branches) > 1:
            node = next((b for b in branches if _is_alternative(b, str(step))), None)
            continue
        if not branches:
            continue
        keys.append(str(step))
        if is_model(branches[0]):
            parent = branches[0]
            node = _annotation(parent.model_fields[str(step)]) if step in parent.model_fields else None
        else:
            node = (typing.get_args(branches[0]) or (None,))[-1]
    return parent, keys


def _annotation(field: FieldInfo) -> Any:
    """Return the annotation of a field, with what pydantic took out of it."""
    typed = next((extra for extra in field.metadata if isinstance(extra, (Typed, Keyed))), None)
    return field.annotation if typed is None else typing.Annotated[field.annotation, typed]


def _typed(annotation: Any) -> Typed | Keyed | None:
    """Return the alternatives of a block whose ``type`` or key names one of a registry; of an optional one, too."""
    for branch in (annotation, *typing.get_args(annotation)):
        if typing.get_origin(branch) is typing.Annotated and isinstance(branch.__metadata__[0], (Typed, Keyed)):
            return branch.__metadata__[0]
    return None


def _is_alternative(branch: Any, step: str) -> bool:
    """Whether a step of pydantic's error location names this branch of a union."""
    if is_model(branch):
        # of a block with a check of its own, pydantic names the function first
        return step in (branch.__name__, type_of(branch)) or step.endswith(f", {branch.__name__}]")
    origin = typing.get_origin(branch)
    return origin in (dict, list) and f"{origin.__name__}[" in step


def is_model(annotation: Any) -> bool:
    """Whether an annotation is a block of the analysis file."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def type_of(model: type[BaseModel]) -> str | None:
    """Return the value of ``type`` by which a block is told from its alternatives."""
    field = model.model_fields.get("type")
    return typing.get_args(field.annotation)[0] if field is not None else None


def alternatives(annotation: Any) -> list[Any]:
    """All alternatives of an annotation but None, with ``Annotated`` and unions taken apart."""
    if typing.get_origin(annotation) is typing.Annotated:
        return alternatives(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [b for a in typing.get_args(annotation) for b in alternatives(a)]
    return [] if annotation in (None, type(None)) else [annotation]
