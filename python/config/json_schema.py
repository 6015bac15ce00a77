"""The analysis file as a JSON schema (draft 2020-12), by which editors complete and check it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from .base import Form, by_type, one_as_list
from .losses import name_or_class
from .models import module_and_class
from .schema import Analysis

_INTERPOLATION = {"type": "string", "pattern": r"\$\{"}


def json_schema() -> dict[str, Any]:
    """Return the schema of the analysis file as it may be written: with shorthands and interpolations.

    What concerns several keys at once (``folds`` need ``test: 0``) is left to the commands.
    """
    schema = plain_schema()
    blocks = {name: _interpolable(block) for name, block in schema.pop("$defs").items()}
    dialect = {"$schema": GenerateJsonSchema.schema_dialect, "title": "Analysis file of NanoForge"}
    return {**dialect, **_interpolable(schema), "$defs": blocks}


def plain_schema() -> dict[str, Any]:
    """Return the schema without interpolations, for people to read."""
    return block_schema(Analysis)


def block_schema(block: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a block by itself."""
    return block.model_json_schema(schema_generator=_AsWritten)


def descriptions(block: type[BaseModel]) -> dict[str, str]:
    """Return the docstrings under the fields of a block and of those that it inherits from, by field.

    They are read from the source here and nowhere else: pydantic would do it whenever it is imported.
    """
    texts: dict[str, str] = {}
    for parent in reversed(block.__mro__):
        if parent is BaseModel or not issubclass(parent, BaseModel):
            continue
        try:
            (node,) = ast.parse(textwrap.dedent(inspect.getsource(parent))).body
        except (OSError, TypeError):  # of a user's own file, which is no module that Python knows by name
            continue
        statements = getattr(node, "body", [])
        for field, text in zip(statements, statements[1:]):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                texts[ast.unparse(field.target)] = _one_line(str(text.value.value))
    return {name: text for name, text in texts.items() if name in block.model_fields}


class _AsWritten(GenerateJsonSchema):
    """Adds to pydantic's schema what a reader of the file sees: shorthands, forms of texts, meanings of keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Leave out titles that repeat the name of the key."""
        return False

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        """Describe the keys; a default that is a block says nothing that the block does not."""
        block = super().model_schema(schema)
        block.pop("title", None)
        block["description"] = _one_line(block.get("description", ""))
        properties = block.get("properties", {})
        for name, text in descriptions(schema["cls"]).items():
            properties[name]["description"] = text
        for value in properties.values():
            if isinstance(value.get("default"), dict) or value.get("default", "") is None:
                del value["default"]
        return block

    def function_before_schema(self, schema: Any) -> JsonSchemaValue:
        """Accept shorthands beside what they are short for."""
        full = super().function_before_schema(schema)
        shorthand = _SHORTHANDS.get(schema["function"]["function"])
        return full if shorthand is None else {"anyOf": [shorthand(full), *full.get("anyOf", [full])]}

    def function_after_schema(self, schema: Any) -> JsonSchemaValue:
        """Say which form a text has; ``patternErrorMessage`` is VS Code's word for it."""
        text = super().function_after_schema(schema)
        form = schema["function"]["function"]
        if not isinstance(form, Form):
            return text
        return {**text, "pattern": f"^(?:{form.expression})$", "patternErrorMessage": f"should be {form.words}"}

    def dict_schema(self, schema: Any) -> JsonSchemaValue:
        """Refuse keys of another form than that of the names."""
        block = super().dict_schema(schema)
        for pattern, values in block.pop("patternProperties", {}).items():
            block["additionalProperties"] = values
            block["propertyNames"] = {**block.get("propertyNames", {}), "pattern": pattern}
        return block


def _one_item(full: JsonSchemaValue) -> JsonSchemaValue:
    """Return the schema of an element of a list that may be left out."""
    alternatives: list[JsonSchemaValue] = full.get("anyOf", [full])
    return next(one["items"] for one in alternatives if "items" in one)


def _type_alone(full: JsonSchemaValue) -> JsonSchemaValue:
    return {"type": "string", "enum": list(full["discriminator"]["mapping"])}


def _class_as_type(full: JsonSchemaValue) -> JsonSchemaValue:
    kind = {"type": "string", "pattern": r"^[^:]+:[A-Za-z]\w*$", "description": "A class of yours: module:Class."}
    options = {"type": "object", "description": "What its constructor gets; of a network beside inputs and outputs."}
    ours = {"type": "object", "properties": {"type": kind, "options": options}, "required": ["type"]}
    estimator = {"type": "string", "pattern": r"^sklearn\.[\w.]+:[A-Z]\w*$"}
    theirs = {"type": "object", "properties": {"type": estimator}, "required": ["type"]}
    return {"anyOf": [{**ours, "additionalProperties": False}, theirs]}


def _name_or_class(full: JsonSchemaValue) -> JsonSchemaValue:
    return {"anyOf": [_type_alone(full), _class_as_type(full)["anyOf"][0]]}


_SHORTHANDS: dict[Any, Callable[[JsonSchemaValue], JsonSchemaValue]] = {
    one_as_list: _one_item,
    by_type: _type_alone,
    name_or_class: _name_or_class,
    module_and_class: _class_as_type,
}


def _interpolable(node: dict[str, Any]) -> dict[str, Any]:
    """Return a schema in which an interpolation may stand in the place of every value within it."""
    changed = dict(node)
    for key in ("properties",):
        if key in node:
            changed[key] = {name: _or_interpolation(value) for name, value in node[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            changed[key] = _or_interpolation(node[key])
    for key in ("anyOf", "oneOf"):
        if key in node:
            changed[key] = [_interpolable(value) for value in node[key]]
    if "prefixItems" in node:
        changed["prefixItems"] = [_or_interpolation(value) for value in node["prefixItems"]]
    return changed


def _or_interpolation(node: dict[str, Any]) -> dict[str, Any]:
    about = {key: value for key, value in node.items() if key in ("description", "default")}
    rest = {key: value for key, value in _interpolable(node).items() if key not in about}
    if rest.get("type") == "string" and not {"pattern", "enum", "const"} & set(rest):
        return node
    return {**about, "anyOf": [rest, _INTERPOLATION]}


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")
