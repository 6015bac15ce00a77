"""The command ``nanoforge``: one function per command, in a file for each group of them.

A command parses, calls and prints; the stages do the work. ``options`` has the options that several commands share.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ..terminal import interruptible, lenient_output
from . import batch, model, monitoring, overview, samples, serving
from .commands import Command, Commands

COMMANDS: dict[str, Callable[..., Any]] = {
    "init": overview.init,
    "list": overview.list_registry,
    "schema": overview.schema,
    "inspect": overview.inspect,
    "plot": overview.plot,
    "generate": samples.generate,
    "produce": samples.produce,
    "skim": samples.skim,
    "convert": model.convert,
    "train": model.train,
    "tune": model.tune,
    "evaluate": model.evaluate,
    "compare": overview.compare,
    "predict": model.predict,
    "export": model.export,
    "serve": serving.serve,
    "monitor": monitoring.monitor,
    "catalogue": overview.catalogue,
    "cmsrun": samples.cmsrun,
    "submit": batch.submit,
    "status": batch.status,
    "resubmit": batch.resubmit,
    "collect": batch.collect,
    "run": model.run,
}
"""All commands, in the order in which ``--help`` lists them."""

app = typer.Typer(
    name="nanoforge",
    cls=Commands,
    help="From a CMS physics process to a trained, deployed model with one analysis file.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _command in COMMANDS.items():
    app.command(_name, cls=Command)(_command)

_debug = False


def _print_version(show: bool) -> None:
    if show:
        from ..version import __version__

        typer.echo(f"nanoforge {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    global _debug
    _debug = debug


def main() -> None:
    """Run the command line; a failure is one ``error:`` line and an exit code (2: your mistake, 1: data or machine)."""
    with lenient_output():
        _answer_errors()


def _answer_errors() -> None:
    from ..errors import NanoForgeError

    try:
        with interruptible():
            app()
    except NanoForgeError as error:
        if _debug:
            raise
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except ModuleNotFoundError:  # said by __main__, since this file may be what cannot be imported
        raise
    except Exception as error:  # a defect of ours or of a library: one line is enough unless it is to be studied
        if _debug:
            raise
        print(f"error: {_unexpected(error)}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


def _unexpected(error: Exception) -> str:
    """Say what went wrong: in the words of the machine where these name a file (no permission, a name too long)."""
    from ..errors import full_disk, machine_failure, scarce_memory

    lack = machine_failure(error) or full_disk(error)
    if lack is not None:
        return lack
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    cause = scarce_memory() or "'nanoforge --debug ...' shows where"
    return f"{type(error).__name__}: {error}; {cause}"
