"""A model of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Optional

from ...config.base import of_form
from ...config.imported import import_options
from ...config.inputs import Input
from ...config.model_options import ModelOptions
from ...errors import UserError, code_file, raised_at
from ..options import NetworkOptions

if TYPE_CHECKING:
    from torch import nn

    from ...dataset.info import InputInfo


class CustomModelOptions(NetworkOptions):
    """A model of your own, ``type: my_module:MyNet``: a network of PyTorch, or options (``models.options``)."""

    type: Literal["custom"]
    network: Annotated[str, of_form(r"[^:]+:[A-Za-z]\w*", "module:Class")]
    """The class, as ``module:Class``; written as ``type``."""
    options: dict[str, Any] = {}
    """What its constructor gets beside inputs and outputs."""
    code_key: ClassVar[Optional[str]] = "network"

    def check(self, inputs: Mapping[str, Input]) -> None:
        """Nothing can be said before the class is imported, which is done when it is trained."""

    def resolved(self) -> ModelOptions:  # type: ignore[override]
        """See :meth:`..config.typed.TypedOptions.resolved`; for a network of PyTorch that is this."""
        _, options = import_options(self._code(), self.options, ModelOptions, "model")
        return options or _Network(**self.model_dump())

    def build(self, inputs: Mapping[str, InputInfo], outputs: int) -> nn.Module:
        """See :meth:`..options.NetworkOptions.build`."""
        from torch import nn

        code = self._code()
        made, _ = import_options(code, {}, ModelOptions, "model")
        if not (isinstance(made, type) and issubclass(made, nn.Module)):
            raise UserError(f"model.type: '{self.network}' is not a class derived from torch.nn.Module")
        try:
            return made(inputs, outputs, **self.options)
        except Exception as error:  # the user's code may fail in any way
            module, _, name = code.rpartition(":")
            problem = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            arguments = "".join(f", {key}={value!r}" for key, value in self.options.items())
            raise UserError(
                f"model: {name}(inputs, outputs{arguments}) of '{module}' fails"
                f"{raised_at(error, code_file(made.__init__))} ({problem}): correct it, or model.options"
            ) from error

    def _code(self) -> str:
        """Return the class; where its file is not, the model moved to another machine, and the module is looked for."""
        module, _, name = self.network.rpartition(":")
        if module.endswith(".py") and not Path(module).is_file():
            module = Path(module).stem
        return f"{module}:{name}"


class _Network(CustomModelOptions):
    """A class of the user's own that is a network of PyTorch."""

    def check(self, inputs: Mapping[str, Input]) -> None:
        """See :meth:`ModelOptions.check`."""
        ModelOptions.check(self, inputs)

    def resolved(self) -> ModelOptions:  # type: ignore[override]
        """Return this."""
        return self
