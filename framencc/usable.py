"""Which pixels of a frame take no part in any window, and why."""

import numpy as np
import numpy.typing as npt

from framencc.frames import Picture, Use, frozen
from framencc.kernels import usable as kernels
from framencc.kernels.launch import count_bands, launch

Codes = npt.NDArray[np.uint8]

_NO_CODES: Codes = np.empty((0, 0), np.uint8)
_NO_USE: Use = np.empty((0, 0), np.bool_)
_NO_BITS = np.empty((0, 0, 0), np.int32)


def find_unusable(
    planes: Picture, use: Use | None, *, known: Codes | None = None, codes: Codes | None = None, threads: int
) -> Codes | None:
    """Combine all reasons why pixels cannot be used; where there are several, masked goes first, then not finite.

    Parameters
    ----------
    planes
        (C, H, W) uint8, uint16 or float32: code 6 where a float of any channel is NaN or infinite.
    use
        (H, W) bool: code 4 where it is False.
    known, codes
        (H, W) uint8 validity codes of the reference and of the frame's warp.
    threads
        How many threads to use.

    Returns
    -------
    numpy.ndarray or None
        (H, W) uint8: 0 for the pixels that can be used, otherwise their code. None where all planes are finite and
        nothing else is given; `known` itself where there is nothing to add.
    """
    floats = planes.dtype == np.float32
    if not floats and use is None and codes is None:
        return known
    bits = frozen(planes).view(np.int32) if floats else _frozen(None, _NO_BITS)
    given = _frozen(use, _NO_USE), _frozen(known, _NO_CODES), _frozen(codes, _NO_CODES)
    out: Codes = np.empty(planes.shape[1:], np.uint8)
    found = np.empty(count_bands(len(out), threads), np.bool_)
    launch(kernels.find_unusable, threads, bits, *given, len(found), out, found)
    return out if found.any() or use is not None or known is not None or codes is not None else None


def _frozen(given: Picture | None, nothing: Picture) -> Picture:
    return frozen(nothing if given is None else given)
