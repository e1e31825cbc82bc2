"""From maps to codes."""

import numpy as np

from framencc.kernels.compilation import kernel


@kernel()
def encode_rows(rho, gain, offset, maximum, y0, y1, codes):
    """Write round(gain * rho + offset), halves upwards, cut to 0 ... maximum; NaN (no measurement) becomes 0."""
    for y in range(y0, y1):
        row, out = rho[y], codes[y]
        for x in range(out.size):
            value = min(gain * np.float64(row[x]) + offset, maximum)
            out[x] = np.int64(value + 0.5) if value > 0.0 else 0


@kernel()
def weigh_rows(validity, distance, scale, y0, y1, rho):
    """Multiply max(rho, 0) by exp(-distance / scale) where a pixel holds a value; a NaN distance weighs nothing."""
    for y in range(y0, y1):
        out, why, far = rho[y], validity[y], distance[y]
        for x in range(out.size):
            if why[x] <= 2 and not np.isnan(out[x]):
                weight = np.exp(-np.float64(far[x]) / scale) if far[x] >= 0 else 0.0
                out[x] = np.float32(max(np.float64(out[x]), 0.0) * weight)
