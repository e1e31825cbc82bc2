"""Compiles every kernel, so that the first run of a machine does not wait for it."""

import time
from typing import Any

import numpy as np

from framencc.kernels.png_filters import undo_filters
from framencc.ncc import Reference
from framencc.render import encode
from framencc.scores import score

_NARROW, _WIDE = 3, 10  # radii on either side of the change from 32-bit to 64-bit arithmetic


def warm_up() -> float:
    """Call every kernel once with every kind of argument.

    Returns
    -------
    float
        Seconds that it took; next to nothing where the compiled kernels were on disk.
    """
    started = time.perf_counter()
    kinds: tuple[tuple[Any, int], ...] = (
        (np.uint8, _NARROW),
        (np.uint8, _WIDE),
        (np.uint16, _NARROW),
        (np.float32, _NARROW),
    )
    for dtype, radius in kinds:
        picture = np.arange(64, dtype=dtype).reshape(8, 8)
        rho, validity = Reference(picture, radius).ncc(picture, return_validity=True)
    for bits in (8, 16):
        encode(rho, "clip", bits)
    score(rho, validity)
    # Bytes as they come out of zlib cannot be written to, which to Numba is a kind of its own.
    undo_filters(np.frombuffer(bytes(7), np.uint8).reshape(1, 7), 6, np.empty((1, 6), np.uint8))
    return time.perf_counter() - started
