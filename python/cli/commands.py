"""How commands read a command line: lists of names in their help, and an answer to an option that there is not."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from ..errors import UserError

_KEYS = {
    "epochs": "training.epochs",
    "batch-size": "training.batch_size",
    "lr": "training.learning_rate",
    "learning-rate": "training.learning_rate",
    "seed": "training.seed",
    "patience": "training.patience",
    "loss": "training.loss.type",
    "optimizer": "training.optimizer",
    "precision": "training.precision",
    "device": "training.accelerator",
    "accelerator": "training.accelerator",
    "workers": "training.workers",
    "folds": "split.folds",
    "model": "model.type",
}
"""Options that other programs have, and the keys of the analysis file that say the same."""

_RENAMED = {"--partial": "--skip-bad-files", "--parts": "--from-parts", "--parts-at": "--from-parts-at"}
"""What options are called that had another name."""


class Command(TyperCommand):
    """A command; ``{targets}`` in the help of its options names all of them, those of other packages too."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Fill in the names: they take time to find."""
        for parameter in self.params:
            text = getattr(parameter, "help", None) or ""
            if "{targets}" in text:
                from ..batch.targets import TARGETS

                parameter.help = text.replace("{targets}", ", ".join(TARGETS.names()))  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


class Commands(TyperGroup):
    """The commands; an option that is none is answered with the key of the analysis file that was meant."""

    def invoke(self, ctx: Any) -> Any:
        """Parse and run the command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if type(error).__name__ != "NoSuchOption":  # of click, or of typer's copy of it
                raise
            raise _unknown_option(error, sys.argv) from None


def _unknown_option(error: Any, argv: list[str]) -> UserError:
    from ..errors import UserError

    option, command = error.option_name, error.ctx.command
    renamed = _RENAMED.get(option)
    if renamed in [name for parameter in command.params for name in parameter.opts]:
        return UserError(f"{command.name}: there is no option {option} any more: it is called {renamed}")
    key = _KEYS.get(option.lstrip("-").replace("_", "-"))
    if key is None or "overrides" not in {parameter.name for parameter in command.params}:
        near = error.possibilities or [o for p in command.params for o in p.opts if o.startswith("--")]
        return UserError(f"{command.name}: there is no option {option}; there are {', '.join(sorted(near))}")
    matching = [argument for argument in argv if argument.partition("=")[0] == option] or [option]
    _, equals, value = matching[0].partition("=")
    after = argv[argv.index(matching[0]) + 1 :] if not equals and matching[0] in argv else []
    value = value or next((argument for argument in after[:1] if not argument.startswith("-")), "...")
    return UserError(
        f"{command.name}: there is no option {option}; it is a key of the analysis file: write {key}={value}"
    )
