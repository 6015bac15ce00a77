"""The key ``batch.environment``: ours, those of installed packages, and the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidationError

from ..errors import UserError
from ..registry import Registry
from .environment import Environment
from .keyed import Keyed
from .mistakes import explain

_PACKAGE = f"{__package__.rpartition('.')[0]}.batch.environments"
ENVIRONMENTS: Registry[Environment] = Registry("environment", Environment, _PACKAGE)  # type: ignore[type-abstract]


class UserEnvironment(Environment):
    """A class of the user's own, which is not imported before jobs are made."""

    arguments: dict[str, Any] = {}
    """Its options."""

    def resolved(self) -> Environment:
        """See :meth:`.environment.Environment.resolved`."""
        environment = ENVIRONMENTS.load(self._name, "batch.environment")
        try:
            return environment(**self.arguments).named(self._name)
        except ValidationError as error:
            raise UserError(f"{self.key_path}.{explain(error.errors(), environment)}") from None

    def script(self, folder: Path, batch: Any) -> str:
        """See :meth:`.environment.Environment.script`."""
        return self.resolved().script(folder, batch)

    def _options(self, fields: dict[str, Any]) -> dict[str, Any]:
        return dict(fields.get("arguments", {}))


def user_environment(name: str, options: Mapping[str, Any]) -> UserEnvironment:
    """Return what stands for a class of the user's own until it is imported."""
    return UserEnvironment(arguments=dict(options)).named(name)


JobEnvironment = Annotated[Environment, Keyed(ENVIRONMENTS, user_environment, "local")]
"""The value of ``batch.environment``."""
