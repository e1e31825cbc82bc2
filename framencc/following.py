"""What follows the correlation, row by row: weighting, codes and scores, chosen here and done in the kernels."""

from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.frames import Picture, frozen
from framencc.kernels.launch import launch
from framencc.kernels.scoring import BINS, N_CODES, N_COUNTS, Following, Tally, follow_map
from framencc.shades import maximum_code
from framencc.spec import Encoding

_NO_CODES: npt.NDArray[np.uint8] = np.empty((0, 0), np.uint8)
_NO_DISTANCE = frozen(np.empty((0, 0), np.float32))
_NO_FIELD = frozen(np.empty((0, 0, 2), np.float32))
_NO_MATRIX = frozen(np.empty((0, 3)))
_NO_PLANES = frozen(np.empty((0, 0, 0), np.uint8))
_NO_STRETCHES = frozen(np.empty((0, 3), np.int32))
_NO_ROWS = frozen(np.empty(0, np.int64))


def make_following(
    width: int,
    *,
    distance: Picture | None = None,
    distance_scale: float = 1.0,
    codes: Picture | None = None,
    encoding: Encoding = "clip",
    frame: Picture = _NO_PLANES,
    reference: Picture = _NO_PLANES,
    field: npt.NDArray[Any] | None = None,
    threshold: float = 0.0,
    stretches: npt.NDArray[np.int32] = _NO_STRETCHES,
    first: npt.NDArray[np.int64] = _NO_ROWS,
) -> Following:
    """Choose what is done with the rows of a map.

    Parameters
    ----------
    width
        Pixels of a row.
    distance
        (H, W) float32 forward-backward distance in pixels; where a pixel holds a value (validity codes 0 to 2) rho
        becomes max(rho, 0) * exp(-distance / distance_scale), 0 where the distance is NaN.
    distance_scale
        In pixels.
    codes
        (H, W) uint8 or uint16, C-contiguous: gets the codes of the map.
    encoding
        ``clip`` or ``signed``, see `framencc.render.encode`; with ``float`` no codes are written.
    frame, reference
        (C, H, W) images whose texture is compared.
    field
        (H, W, 2) float32 displacements, or the (3, 3) float64 matrix that takes a reference pixel to a frame pixel.
    threshold, stretches, first
        As of `framencc.kernels.scoring.Following`.
    """
    if codes is None or encoding == "float":
        codes = _NO_CODES
    maximum = float(maximum_code(8 * codes.dtype.itemsize))
    gain, offset = (maximum / 2, maximum / 2) if encoding == "signed" else (maximum, 0.0)
    given = _NO_FIELD if field is None else frozen(field)
    return Following(
        width=width,
        distance=_NO_DISTANCE if distance is None else frozen(distance),
        distance_scale=float(distance_scale),
        codes=codes,
        gain=np.float32(gain),
        offset=np.float32(offset + 0.5),  # which rounds halves upwards
        maximum=np.float32(maximum),
        frame=frozen(frame),
        float_frame=_is_float(frame),
        reference=frozen(reference),
        float_reference=_is_float(reference),
        field=given if given.ndim == 3 else _NO_FIELD,
        matrix=given if given.ndim == 2 else _NO_MATRIX,
        threshold=np.float32(threshold),
        stretches=stretches,
        first=first,
    )


def make_tally(n_bands: int, shape: tuple[int, int], n_parts: int, following: Following) -> Tally:
    """Return room for the sums of a map of `n_parts` parts; none for 0 parts."""
    height, width = shape if n_parts else (0, 0)
    rows, n_channels = (height, n_parts), len(following.reference)
    return Tally(
        rows=np.full((n_bands, 2), -2, np.int64),
        code_counts=np.zeros((height, N_CODES), np.int64),
        counts=np.zeros((*rows, N_COUNTS), np.int64),
        histograms=np.zeros((n_bands, n_parts, BINS + 1), np.int32),
        texture=np.zeros((*rows, n_channels, 4), _sum_dtype(following.frame)),
        reference_texture=np.zeros((*rows, n_channels, 4), _sum_dtype(following.reference)),
        lengths=np.zeros(rows),
        kept=np.full((height, width), 255, np.uint8),
        changed=np.zeros(height, np.uint8),
        bins=np.empty((n_bands, width), np.uint16),
        terms=np.empty((n_bands, width)),
    )


def follow(rho: Picture, validity: Picture, following: Following, tally: Tally, threads: int) -> None:
    """Follow the rows of a finished map, in parallel.

    Parameters
    ----------
    rho
        (H, W) float32; changed in place if `following` has a distance.
    validity
        (H, W) uint8 codes; not read where neither a distance nor scores are wanted.
    following, tally
        What is done, and what it adds up to.
    threads
        How many threads to use. The results do not depend on it.
    """
    # Maps that are still being made are writable, and kernels should be compiled for one kind.
    row, codes = _writable(rho), _writable(validity)
    launch(follow_map, threads, len(tally.rows), row.reshape(-1), codes, following, tally)
    if following.distance.size and row is not rho:
        rho[...] = row


def _writable(picture: Picture) -> Picture:
    """Return the same, C-contiguous and writable: a copy where it is not."""
    return np.require(picture, requirements=["C", "W"])


def _is_float(planes: Picture) -> bool | None:
    return True if planes.dtype == np.float32 else None


def _sum_dtype(planes: Picture) -> type:
    return np.int64 if _is_float(planes) is None else np.float64
