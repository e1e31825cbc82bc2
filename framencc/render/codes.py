"""How a map becomes a picture: gray codes."""

import numpy as np

from framencc.frames import Picture
from framencc.kernels.encode import encode_rows, weigh_rows
from framencc.kernels.threads import default_threads, share_rows
from framencc.shades import maximum_code
from framencc.spec import Encoding


def weigh(rho: Picture, validity: Picture, distance: Picture, scale: float, *, threads: int | None = None) -> None:
    """Turn correlations into confidences by the forward-backward distance: max(rho, 0) * exp(-distance / scale).

    Parameters
    ----------
    rho
        (H, W) float32 map, changed in place where it holds a value (validity codes 0, 1 and 2).
    validity
        (H, W) uint8 codes.
    distance
        (H, W) float32 in pixels; where it is NaN the confidence is 0.
    scale
        In pixels.
    threads
        Kernel threads; all cores if omitted.
    """
    share_rows(
        lambda y0, y1: weigh_rows(validity, distance, scale, y0, y1, rho), rho.shape[0], threads or default_threads()
    )


def encode(
    rho: Picture, encoding: Encoding, bits: int = 8, *, out: Picture | None = None, threads: int | None = None
) -> Picture:
    """Turn a map into what is written to a file.

    Parameters
    ----------
    rho
        (H, W) float32 in [-1, 1]; NaN where nothing was measured.
    encoding
        ``clip``: round(M * max(rho, 0)); ``signed``: round(M * (rho + 1) / 2), M = 255 or 65535; ``float``: rho itself.
        Halves are rounded up; NaN becomes code 0, and a `fill` beyond [-1, 1] the nearest code.
    bits
        8 or 16.
    out
        Array to write to: (H, W), uint8 or uint16; a new one if omitted.
    threads
        Kernel threads; all cores if omitted.

    Returns
    -------
    numpy.ndarray
        (H, W) uint8 or uint16; `rho` itself for ``float``.
    """
    if encoding == "float":
        return rho
    maximum = float(maximum_code(bits))
    gain, offset = (maximum, 0.0) if encoding == "clip" else (maximum / 2, maximum / 2)
    codes = np.empty(rho.shape, np.uint8 if bits == 8 else np.uint16) if out is None else out
    share_rows(
        lambda y0, y1: encode_rows(rho, gain, offset, maximum, y0, y1, codes),
        rho.shape[0],
        threads or default_threads(),
    )
    return codes
