"""What takes worker processes seconds to begin with, done once in the server that they are forked from."""

from __future__ import annotations

import numpy as np

from .dataset import kernels

kernels.first_bad(np.zeros((0, 1, 1), np.float32))  # numba starts with the first compiled function that is called
