"""``python -m nanoforge`` is the command ``nanoforge``."""

from __future__ import annotations

from .cli import main

main()
