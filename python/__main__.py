"""``python -m nanoforge`` is the command ``nanoforge``; an interruption is answered from the first import on."""

from __future__ import annotations

from .terminal import interruptible


def main() -> None:
    """Run the command line."""
    with interruptible():
        from .cli import main as command

        command()


if __name__ == "__main__":
    main()
