"""Blocks of one key, which says which class they are: ``{lcg: {view: LCG_108}}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, Optional, TypeVar

from pydantic import (
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic_core import SchemaValidator, core_schema

from ..errors import nearest
from ..registry import Registry
from .base import Strict

Self = TypeVar("Self", bound="KeyedOptions")
Kind = TypeVar("Kind", bound="KeyedOptions")
_CODE = r"^[^:]+:[A-Za-z]\w*$"


class KeyedOptions(Strict):
    """An alternative of such a block: it has its key as name, and is written below it."""

    single: ClassVar[Optional[str]] = None
    """The option, a text, that may stand for all: ``venv: /a/folder`` for ``venv: {path: /a/folder}``."""
    _name: str = PrivateAttr("")

    def named(self: Self, name: str) -> Self:
        """Return the same with a name."""
        copy = self.model_copy()
        copy._name = name
        return copy

    def with_code(self: Self, rename: Callable[[str], str]) -> Self:
        """Return the same with another name of the module, where it is the user's own."""
        return self.named(rename(self._name)) if ":" in self._name else self

    @model_serializer(mode="wrap")
    def _by_name(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {self._name: self._options(handler(self))}

    def _options(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the options as the analysis file has them."""
        return fields


class Keyed(Generic[Kind]):
    """The alternatives of a block; as an annotation, pydantic validates the block as what its one key names.

    One whose options may be left out is its name alone: ``local``. As with :class:`.typed.Typed`, no other class than
    the one that is named is imported, and none of the user's own.

    Parameters
    ----------
    registry
        The classes by name.
    of_user
        Makes what stands for a class of the user's own: of ``module:Class`` and its options.
    default
        The name that an empty block stands for.
    """

    def __init__(
        self, registry: Registry[Kind], of_user: Callable[[str, Mapping[str, Any]], Kind], default: str
    ) -> None:
        self.registry = registry
        self._of_user = of_user
        self._default = default

    def options(self, name: str) -> type[Kind] | None:
        """Return the class of a name, None where there is none."""
        ours = name == self._default or name in self.registry.names()
        return self.registry.load(name, self.registry.kind) if ours else None

    def parse(self, block: Any) -> Kind:
        """Return the options that a block describes.

        Raises
        ------
        ValueError
            When it does not name one of the alternatives, or they do not have these options.
        """
        if isinstance(block, self.registry.base):
            return block
        name, options = self._entry(block)
        if ":" in name:
            if not isinstance(options, Mapping):
                raise ValueError(f"{name} takes a block of its options")
            return self._of_user(name, options)
        choice = self.options(name)
        if choice is None:
            names, kind = self.registry.names(), self.registry.kind
            raise ValueError(
                f"there is no {kind} {name!r}: use {', '.join(names)} or module:Class{nearest(name, names)}"
            )
        if choice.single is not None and not isinstance(options, Mapping):
            options = {choice.single: options}
        field = core_schema.typed_dict_field(choice.__pydantic_core_schema__)
        schema = core_schema.typed_dict_schema({name: field})  # so that what is wrong has the name in its path
        made: Kind = SchemaValidator(schema).validate_python({name: options})[name]
        return made.named(name)

    def _entry(self, block: Any) -> tuple[str, Any]:
        """Return the name and the options of a block; others of it may be there, and null."""
        if isinstance(block, str):
            return block, {}
        entries = []
        if isinstance(block, Mapping):
            entries = [(str(name), options) for name, options in block.items() if options is not None]
        if not isinstance(block, Mapping) or len(entries) > 1:
            raise ValueError(f"give one of {', '.join(self.registry.names())} and module:Class")
        return entries[0] if entries else (self._default, {})

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """Tell pydantic how the block is validated; it is written as the class that it is."""
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> Any:
        """Describe all alternatives that there are."""
        code = {"title": "module:Class", "type": "string", "pattern": _CODE}
        choices = dict(self.registry.all())
        fields = {name: choice.model_fields.values() for name, choice in choices.items()}
        names = [name for name, options in fields.items() if not any(option.is_required() for option in options)]
        blocks = {
            name: core_schema.typed_dict_field(choices[name].__pydantic_core_schema__, required=False)
            for name, options in fields.items()
            if options
        }
        block = handler(core_schema.typed_dict_schema(blocks, extra_behavior="forbid"))
        for name in blocks:
            if choices[name].single is not None:
                block["properties"][name] = {"anyOf": [{"type": "string"}, block["properties"][name]]}
        one = {"patternProperties": {_CODE: {"type": "object"}}, "minProperties": 1, "maxProperties": 1}
        return {"anyOf": [{"type": "string", "enum": names}, {**block, **one}, code]}
