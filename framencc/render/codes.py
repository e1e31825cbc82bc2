"""How a map becomes a picture: gray codes."""

import numpy as np

from framencc.following import follow, make_following, make_tally
from framencc.frames import Picture
from framencc.kernels.launch import count_bands, default_threads
from framencc.kernels.scoring import Following
from framencc.spec import Encoding

_NO_VALIDITY: Picture = np.empty((0, 0), np.uint8)


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
    following = make_following(rho.shape[1], distance=distance, distance_scale=scale)
    _follow(rho, validity, following, threads)


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
    codes = np.empty(rho.shape, np.uint8 if bits == 8 else np.uint16) if out is None else out
    written = np.ascontiguousarray(codes)
    _follow(rho, _NO_VALIDITY, make_following(rho.shape[1], codes=written, encoding=encoding), threads)
    if written is not codes:
        codes[...] = written
    return codes


def _follow(rho: Picture, validity: Picture, following: Following, threads: int | None) -> None:
    """Do what is wanted with each row of a finished map; count nothing."""
    threads = threads or default_threads()
    tally = make_tally(count_bands(rho.shape[0], threads), rho.shape, 0, following)
    follow(rho, validity, following, tally, threads)
