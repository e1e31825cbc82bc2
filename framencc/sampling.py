"""Frames on another grid: the values of a frame where a displacement field or a matrix says, and why some have none."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.errors import SpecError
from framencc.frames import PICTURE_DTYPES, Picture, Use, frozen
from framencc.kernels import area_mean as kernel
from framencc.kernels import warp_sampling
from framencc.kernels.launch import count_bands, launch

INTERPOLATIONS = ("linear", "nearest", "cubic")
_LARGEST_SIDE, _MOST_PIXELS = 1 << 24, (1 << 31) - 1


def fixed_point_gain(dtype: npt.DTypeLike, bits: int | None = None) -> int:
    """Tell by what the codes of an integer picture are multiplied in 16 bits: 256 for 8 bits, 64 for 10, 1 for 16."""
    return 1 << (16 - (8 * np.dtype(dtype).itemsize if bits is None else bits))


def area_mean(
    planes: Picture,
    out: npt.NDArray[np.float32],
    threads: int,
    *,
    weights: Sequence[float] = (1.0,),
    squares: npt.NDArray[np.float32] | None = None,
) -> None:
    """Make a picture smaller: every new pixel is the mean of the area that it covers.

    Parameters
    ----------
    planes
        (C, H, W) channels of any real kind.
    out
        (h, w) with h <= H and w <= W, filled.
    threads
        How many threads to use.
    weights
        C factors by which the channels are added up.
    squares
        (h, w), filled with the means of the squares of one channel; None: they are not wanted.
    """
    n_bands, factors = count_bands(len(out), threads, smallest=1), frozen(np.array(weights, np.float32))
    no_squares = np.empty((0, 0), np.float32)
    launch(kernel.area_mean, threads, frozen(planes), factors, n_bands, out, no_squares if squares is None else squares)


class Sampler:
    """Samples frames where a warp says: warped(x, y) = frame(x + dx, y + dy), pixel centres at integers.

    Parameters
    ----------
    interpolation
        ``nearest``: the nearest pixel, halves to the right and down; ``linear``: between four; ``cubic``: Keys' cubic
        convolution over sixteen (IEEE Trans. Acoust. Speech Signal Process. 29, 1981, a = -1/2), taps beyond the
        picture's edge repeat the edge pixel. Where it leaves the range of an integer picture's codes it is cut.
    fixed_point
        Integer pictures give round(gain * value) in uint16, halves upwards, the gain as by `fixed_point_gain`; else
        their values in float32, as float pictures always do.
    bits
        Significant bits of an integer picture's codes, 1 to 16; None for all that its dtype holds.
    threads
        How many threads to use. The result has the same bits for any number.

    Notes
    -----
    The margins around frames are kept from one to the next, so one thread at a time may use a sampler.
    """

    def __init__(
        self, interpolation: str = "linear", *, fixed_point: bool = True, bits: int | None = None, threads: int = 1
    ) -> None:
        if interpolation not in INTERPOLATIONS:
            raise SpecError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, not {interpolation!r}")
        if bits is not None and not 1 <= bits <= 16:
            raise SpecError(f"bits must be 1 to 16, not {bits!r}")
        if threads < 1:
            raise SpecError(f"threads must be at least 1, not {threads!r}")
        self._interpolation, self._fixed_point = interpolation, fixed_point
        self._bits, self._threads = bits, threads
        self._buffers: dict[str, Picture] = {}

    def sample(
        self,
        planes: Picture,
        warp: npt.NDArray[Any],
        *,
        use: Use | None = None,
        size: tuple[int, int] | None = None,
        out: Picture | None = None,
        validity: npt.NDArray[np.uint8] | None = None,
    ) -> tuple[Picture, npt.NDArray[np.uint8]]:
        """Bring a frame onto the warp's grid.

        Parameters
        ----------
        planes
            (C, H, W) uint8, uint16 or float32 channels of the frame.
        warp
            A field, (h, w, 2) float32: dx and dy in pixels at each pixel of the output. Or a matrix, (3, 3) float64,
            from a pixel (x, y, 1) of the output to one of the frame; where it divides by 0 or less is outside. It gives
            the same bits as the field of its displacements in float32.
        use
            (H, W) bool, False for the pixels of the frame that are masked.
        size
            h and w of the output for a matrix; by default those of the frame. A field says so itself.
        out, validity
            C-contiguous writable arrays for the results; new ones if omitted.

        Returns
        -------
        warped : numpy.ndarray
            (C, h, w) uint16 or float32, see `fixed_point`. 0 where the code is not 0; NaN, with code 0, where a float
            picture is not finite at a tap whose weight is not 0.
        validity : numpy.ndarray
            (h, w) uint8: 0, or 3 where the position is not finite or not within the centres of the outer pixels, or
            4 where a tap whose weight is not 0 is masked. Fractions of a pixel are rounded to float32, and so
            are the displacements that a matrix means, so a matrix and its field give the same bits.

        Raises
        ------
        SpecError
            (a ValueError) When a shape or a dtype does not fit.
        """
        self._check(planes, use)
        field, matrix, (height, width) = _read_warp(warp, planes, size)
        dtype = np.dtype(np.uint16 if self._fixed_point and planes.dtype != np.float32 else np.float32)
        inputs = (planes, warp) if use is None else (planes, warp, use)
        out = _output("out", out, (len(planes), height, width), dtype, inputs)
        validity = _output("validity", validity, (height, width), np.dtype(np.uint8), (*inputs, out))
        picture, masked, margin = frozen(planes), None, False
        if use is not None and not use.all():
            masked = frozen(np.where(use, np.float32(0), np.float32(np.nan))[np.newaxis])
        # Cubic has taps beyond the edge. Words of four bytes need four bytes to lie in, and samples that are outside
        # look at the first pixel, or its neighbours to the right and below.
        if self._interpolation == "cubic" or planes[0].size < 4 or planes.shape[1] == 1:
            picture, margin = self._pad("picture", picture), True
            masked = None if masked is None else self._pad("mask", masked)
        nearest = True if self._interpolation == "nearest" else None
        cubic = True if self._interpolation == "cubic" else None
        pixels = picture.reshape(len(planes), -1), None if masked is None else masked.reshape(-1)
        settings, n_bands = self._settings(planes, margin), count_bands(height, self._threads)
        arguments = (*pixels, field, matrix, nearest, cubic, settings, n_bands, out, validity)
        launch(warp_sampling.sample, self._threads, *arguments)
        return out, validity

    def _check(self, planes: Picture, use: Use | None) -> None:
        if planes.dtype not in PICTURE_DTYPES:
            raise SpecError(f"the frame has dtype {planes.dtype}; supported are uint8, uint16 and float32")
        if planes.ndim != 3 or planes.size == 0:
            raise SpecError(f"the frame has shape {planes.shape}; (C, H, W) with at least one pixel is expected")
        if max(planes.shape[1:]) >= _LARGEST_SIDE or np.prod(_padded_shape(planes)[1:]) > _MOST_PIXELS:
            raise SpecError(f"the frame has shape {planes.shape}, which is too large to be warped")
        if use is not None and (use.shape != planes.shape[1:] or use.dtype != np.bool_):
            raise SpecError(
                f"use has shape {use.shape} and dtype {use.dtype}; for a frame of shape {planes.shape} it must have "
                f"shape {planes.shape[1:]} and dtype bool"
            )
        if self._bits is not None and planes.dtype == np.uint8 and self._bits > 8:
            raise SpecError(f"bits = {self._bits} cannot apply: the frame has dtype uint8")

    def _settings(self, planes: Picture, margin: bool) -> warp_sampling.SamplingSettings:
        _, height, width = planes.shape
        is_float = planes.dtype == np.float32
        gain = 1 if is_float else fixed_point_gain(planes.dtype, self._bits)
        stride = _padded_shape(planes)[2] if margin else width
        return warp_sampling.SamplingSettings(
            last_x=np.float32(width - 1),
            last_y=np.float32(height - 1),
            stride=np.int32(stride),
            origin=np.int32(warp_sampling.BEFORE * (stride + 1) if margin else 0),
            maximum=np.float32((1 << 16) // gain - 1),
            holes=True if is_float else None,
            gain=None if is_float or not self._fixed_point else np.float32(gain),
        )

    def _pad(self, name: str, planes: Picture) -> Picture:
        """Copy a picture into this sampler's own buffer, with a margin that repeats its edge."""
        shape = _padded_shape(planes)
        padded = self._buffers.get(name)
        if padded is None or padded.shape != shape or padded.dtype != planes.dtype:
            padded = self._buffers[name] = np.empty(shape, planes.dtype)
        first, (_, height, width) = warp_sampling.BEFORE, planes.shape
        rows, columns = slice(first, first + height), slice(first, first + width)
        padded[:, rows, columns] = planes
        padded[:, rows, :first], padded[:, rows, first + width :] = planes[:, :, :1], planes[:, :, -1:]
        padded[:, :first], padded[:, first + height :] = padded[:, rows][:, :1], padded[:, rows][:, -1:]
        return frozen(padded)


def _padded_shape(planes: Picture) -> tuple[int, int, int]:
    n_channels, height, width = planes.shape
    rows = warp_sampling.BEFORE + height + warp_sampling.BELOW
    return n_channels, rows, warp_sampling.BEFORE + width + warp_sampling.AFTER


def _read_warp(
    warp: npt.NDArray[Any], planes: Picture, size: tuple[int, int] | None
) -> tuple[Picture | None, Picture | None, tuple[int, int]]:
    """Tell a field from a matrix, and return it as the kernels take it, with the height and width of the output."""
    if warp.ndim == 3 and warp.shape[2] == 2 and warp.dtype == np.float32:
        height, width, _ = warp.shape
        if size is not None and tuple(size) != (height, width):
            raise SpecError(f"the field has shape {warp.shape}, the output {tuple(size)}; they must agree")
        field, matrix = frozen(warp.reshape(-1)), None
    elif warp.shape == (3, 3) and warp.dtype == np.float64:
        height, width = planes.shape[1:] if size is None else size
        field, matrix = None, frozen(warp)
    else:
        raise SpecError(
            f"the warp has shape {warp.shape} and dtype {warp.dtype}; for a frame of shape {planes.shape} it must be a "
            f"field, (h, w, 2) float32, or a matrix, (3, 3) float64"
        )
    if height < 1 or width < 1 or max(height, width) >= _LARGEST_SIDE:
        raise SpecError(f"the output of a warp has shape {(height, width)}; sides of 1 to 2^24 - 1 are expected")
    return field, matrix, (height, width)


def _output(
    name: str, out: Picture | None, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: tuple[Picture, ...]
) -> Picture:
    if out is None:
        return np.empty(shape, dtype)
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous or not out.flags.writeable:
        raise SpecError(
            f"{name} has shape {out.shape} and dtype {out.dtype}; it must be a C-contiguous writable {dtype} array of "
            f"shape {shape}"
        )
    if any(np.may_share_memory(out, other) for other in inputs):
        raise SpecError(f"{name} must not share memory with an input or another output")
    return out
