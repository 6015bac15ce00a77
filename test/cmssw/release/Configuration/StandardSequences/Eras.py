"""A stub: every era that is asked for is there."""

from __future__ import annotations


class _Eras:
    def __getattr__(self, name: str) -> str:
        return name


eras = _Eras()
