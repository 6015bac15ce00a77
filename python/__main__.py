"""``python -m nanoforge`` is the command ``nanoforge``; an interruption is answered from the first import on."""

from __future__ import annotations

import sys

from .terminal import interruptible


def main() -> None:
    """Run the command line. A package that is not installed is a mistake that no further try mends."""
    try:
        with interruptible():
            from .cli import main as command

            command()
    except ModuleNotFoundError as error:
        if "--debug" in sys.argv:
            raise
        print(  # noqa: T201
            f"error: {sys.executable} lacks the package {error.name!r}: install it there (pip install "
            "'nanoforge[all]'), or take another environment (in a batch job: batch.environment)",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
