"""Blocks whose ``type`` says which class they are: a file of ours, an entry point, or a class of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, Optional, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import SchemaValidator, core_schema

from ..registry import Registry
from .base import Strict

Self = TypeVar("Self", bound="TypedOptions")
Kind = TypeVar("Kind", bound="TypedOptions")


class TypedOptions(Strict):
    """A block of the analysis file whose ``type`` says what the other keys mean."""

    type: str
    """Which one it is: a name, or ``module:Class`` beside the analysis file."""
    code_key: ClassVar[Optional[str]] = None
    """The field that names a class of the user's own, where there is one."""

    @property
    def code(self) -> str | None:
        """The class of the user's own, as ``module:Class`` or ``/path/to/file.py:Class``; None for ours."""
        if self.code_key is not None:
            return str(getattr(self, self.code_key))
        return self.type if ":" in self.type else None

    def with_code(self: Self, rename: Callable[[str], str]) -> Self:
        """Return the same with another name of the user's own class."""
        return self if self.code is None else self.model_copy(update={self.code_key or "type": rename(self.code)})

    def resolved(self: Self) -> Self:
        """Return the options of the user's own class, which is imported; ours are that already.

        Raises
        ------
        UserError
            When there is no such class, or it does not take the options.
        """
        return self


class Typed(Generic[Kind]):
    """The alternatives of a block; as an annotation, pydantic validates the block as what its ``type`` names.

    No other class than the one that is named is imported, and none of the user's own: the file of somebody else is
    looked at before anything in it is run.

    Parameters
    ----------
    registry
        The classes by name.
    read
        Turns what is written into a block with a name of the registry as ``type``.
    key
        Where the block is in the analysis file.
    """

    def __init__(self, registry: Registry[Kind], read: Callable[[Any], Any], key: str) -> None:
        self.registry = registry
        self._read = read
        self._key = key

    def options(self, type: str) -> type[Kind] | None:
        """Return the class of a type, None where there is none."""
        name = dict(self._read({"type": type}))["type"]
        return self.registry.load(name, f"{self._key}.type") if name in self.registry.names() else None

    def parse(self, block: Any) -> Kind:
        """Return the options that a block describes.

        Raises
        ------
        pydantic.ValidationError
            When there is no such type, or it does not have these options.
        """
        if isinstance(block, self.registry.base):
            return block
        block = self._read(block)
        name = block.get("type") if isinstance(block, Mapping) else None
        choices: dict[Any, Any] = {one: core_schema.any_schema() for one in self.registry.names()}
        if name in choices:
            choices[name] = self.registry.load(str(name), f"{self._key}.type").__pydantic_core_schema__
        return SchemaValidator(core_schema.tagged_union_schema(choices, "type")).validate_python(block)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """Tell pydantic how the block is validated; it is written as the class that it is."""
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> Any:
        """Describe all alternatives that there are."""
        choices = {name: options.__pydantic_core_schema__ for name, options in self.registry.all()}
        union = core_schema.tagged_union_schema(choices, "type")
        return handler(core_schema.no_info_before_validator_function(self._read, union))
