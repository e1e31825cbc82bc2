"""Which pixels of a frame take no part in any window, and why."""

import numba
import numpy as np

from framencc.kernels.compilation import kernel, parallel_kernel


@kernel()
def _find_unusable_rows(bits, use, known, codes, y0, y1, out):
    seen = np.uint8(0)
    for y in range(y0, y1):
        for x in range(out.shape[1]):
            out[y, x] = known[y, x] if known.size else np.uint8(0)
        for x in range(codes.shape[1]):  # 4 goes before 6, that before 3, that before all others
            one, other = out[y, x], codes[y, x]
            goes_before = (other == 4) | (one == 0) | (other == 6) & (one != 4) | (other == 3) & (one != 4) & (one != 6)
            out[y, x] = other if goes_before else one
        for channel in range(bits.shape[0]):
            for x in range(bits.shape[2]):  # an exponent of ones
                infinite = (bits[channel, y, x] & np.int32(0x7F800000)) == np.int32(0x7F800000)
                out[y, x] = np.uint8(6) if infinite & (out[y, x] != 4) else out[y, x]
        for x in range(use.shape[1]):
            out[y, x] = out[y, x] if use[y, x] else np.uint8(4)
        for x in range(out.shape[1]):
            seen |= out[y, x]
    return seen != 0


@parallel_kernel()
def find_unusable(bits, use, known, codes, n_bands, out, found):
    """Write 0 for the pixels that can be used, and validity codes for the others, (H, W) uint8.

    They are those of `known` and `codes`, (H, W) uint8, 6 where a float32 of the (C, H, W) planes, here their `bits`
    as int32, is not finite, and 4 where (H, W) bool `use` is false. What is not given has the shape (0, 0). `found`,
    (n_bands,) bool, says where there are any.
    """
    height = out.shape[0]
    for i in numba.prange(n_bands):
        y0, y1 = height * i // n_bands, height * (i + 1) // n_bands
        found[i] = _find_unusable_rows(bits, use, known, codes, y0, y1, out)
