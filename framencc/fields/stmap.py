"""STMaps, whose numbers are positions in the frame, and how finely a file of few bits holds them."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from framencc.fields.formats import Note, Size, Stored

FINE_STEP = 1 / 64
"""Steps of a pixel that need no remark: KITTI's own."""

_CODES = 65535  # of 16 bits
_HALF_STEPS = 2048  # from 0.5 to 1 half floats are 1 / 2048 apart


def rounding(stored: Stored, frame_size: Size, *, positions: bool) -> Iterator[Note]:
    """Say so where what a file holds, positions or displacements, is rounded to steps beyond `FINE_STEP`."""
    height, width = frame_size
    kind = "half floats" if stored.dtype == np.float16 else "16-bit codes"
    what, step = "positions" if positions else "displacements", 0.0
    if positions and stored.dtype in (np.float16, np.uint16):
        step = max(height, width) / (_CODES if stored.dtype == np.uint16 else _HALF_STEPS)
    elif not positions and stored.dtype == np.float16:
        finite = np.abs(stored[np.isfinite(stored)])
        step = float(np.spacing(finite.max())) if finite.size else 0.0
    if step > FINE_STEP:
        yield Note(
            "rounding",
            f"holds {kind}: at {width} x {height} they round {what} to steps of up to {step:.3g} px, so that these are "
            f"off by up to {step / 2:.3g} px; store 32-bit floats",
            step,
        )


def displacement_of(stored: Stored, frame_size: Size) -> npt.NDArray[np.float64]:
    """Turn positions into displacements, in float64; see `read_field` for the formula."""
    frame_height, frame_width = frame_size
    height, width = stored.shape[:2]
    columns, rows = np.arange(width), np.arange(height)[:, np.newaxis]
    u, v = (_normalised(stored[..., place]) for place in (0, 1))
    displacement = np.stack([u * frame_width - 0.5 - columns, frame_height - 0.5 - v * frame_height - rows], axis=-1)
    displacement[u == _as_stored((columns + 0.5) / frame_width, stored.dtype), 0] = 0.0
    displacement[v == _as_stored((frame_height - 0.5 - rows) / frame_height, stored.dtype), 1] = 0.0
    return displacement


def _normalised(stored: Stored) -> npt.NDArray[np.float64]:
    values = stored.astype(np.float64)
    return values / _CODES if stored.dtype == np.uint16 else values


def _as_stored(values: npt.NDArray[np.float64], dtype: np.dtype[np.generic]) -> npt.NDArray[np.float64]:
    """Round to what the file's type can hold."""
    if dtype == np.uint16:
        return np.rint(values * _CODES) / _CODES
    return values.astype(dtype).astype(np.float64)
