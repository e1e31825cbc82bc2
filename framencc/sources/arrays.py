"""An array of frames, in memory or as a memory-mapped .npy file."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.errors import DamagedInputError, SourceError, SpecError
from framencc.frames import StreamInfo
from framencc.lookup import require_file
from framencc.npy import map_npy, read_npy_header
from framencc.sources.limits import DEFAULT_LIMITS, SizeLimits
from framencc.sources.selection import (
    DEFAULT_FRAME_RATE,
    EVERYTHING,
    IndexedSource,
    Selection,
)
from framencc.sources.significant import Codes, find_code_range, places_to_look
from framencc.sources.wanted import LUMA, Taken, Wanted


class ArraySource(IndexedSource):
    """The frames of an (N, H, W) or (N, H, W, C) array, C = 3 (RGB) or 4 (RGBA).

    Parameters
    ----------
    frames
        uint8, uint16, or floats (float64 becomes float32, frame by frame), or the path of a .npy file that holds such
        an array; the file is mapped, not loaded.
    selection
        The wanted frames.
    frame_rate
        Frames per second.
    wanted
        What to take out of each frame.
    limits
        How much is read at most.
    bits
        How many bits of its codes are significant; by default as few as hold them.

    Raises
    ------
    SpecError
        When there is no such file, the array has no frames, or its codes do not fit `bits`.
    SourceError
        When the file is no .npy array, or the array is none of the above.
    """

    def __init__(
        self,
        frames: npt.NDArray[Any] | str | Path,
        *,
        selection: Selection = EVERYTHING,
        frame_rate: Fraction = DEFAULT_FRAME_RATE,
        wanted: Wanted = LUMA,
        limits: SizeLimits = DEFAULT_LIMITS,
        bits: int | None = None,
    ) -> None:
        path = str(frames) if isinstance(frames, (str, Path)) else "array"
        array = _map(path) if isinstance(frames, (str, Path)) else np.asarray(frames)
        dtype = wanted.dtype(array.dtype)
        if dtype is None or array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (3, 4)):
            raise SourceError(
                f"input {path!r} must be (N, H, W) or (N, H, W, 3 or 4) of uint8, uint16, float32 or float64, not "
                f"{array.shape} {array.dtype}"
            )
        if 0 in array.shape:
            raise SpecError(f"input {path!r} of shape {array.shape} holds no pixel")
        limits.check_pixels(array.shape[1], array.shape[2], f"input {path!r}")
        super().__init__(path, selection, array.shape[0], frame_rate, limits)
        self._array: npt.NDArray[Any] | None = array
        self._wanted = wanted
        try:
            first = wanted.take(array[selection.origin])
        except ValueError as error:
            raise SpecError(f"input {path!r} {error}") from None
        seen = (Codes.of(array[place]) for place in places_to_look(len(array)))
        self.info = StreamInfo(
            height=array.shape[1],
            width=array.shape[2],
            dtype=dtype,
            n_frames=selection.done + len(self._indices),
            frame_rate=frame_rate,
            code_range=find_code_range(dtype, seen, bits, "input"),
            n_channels=1 if first.data.ndim == 2 else len(first.data),
            conversion=first.conversion,
            details={"kind": "array", "shape": " x ".join(map(str, array.shape)), "dtype": str(array.dtype)},
        )
        self._check_length()

    def close(self) -> None:
        """Let go of the array, and so of the file; see `Source.close`."""
        super().close()
        self._array = None

    def _load(self, index: int) -> Taken:
        array = self._array
        if array is None:
            raise SourceError(f"input {self._path!r} has been closed")
        return self._wanted.take(array[index])


def _map(path: str) -> npt.NDArray[Any]:
    where = f"input {path!r}"
    require_file(path, where)
    try:
        return map_npy(Path(path), read_npy_header(Path(path), where))
    except DamagedInputError as error:
        # Nothing has been read before the damage, so there is no partial result to keep.
        raise SourceError(str(error)) from None
    except SourceError:
        raise
    except (OSError, ValueError) as error:
        raise SourceError(f"{where} cannot be read: {' '.join(str(error).split())}") from None
