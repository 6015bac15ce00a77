"""How loops over jagged data are compiled."""

from __future__ import annotations

import numba

jit = numba.njit(cache=__name__.startswith("nanoforge."), nogil=True)
"""Compile a function and keep the result beside the source.

numba's files hold the name of the package, so that only one of its two names, nanoforge and PhysicsTools.NanoForge, can
have them.
"""
