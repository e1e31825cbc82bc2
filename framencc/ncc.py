"""Local normalized cross-correlation on arrays: `local_ncc` for one pair, `Reference` for many frames."""

from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from framencc.channels import to_luma
from framencc.errors import SpecError
from framencc.frames import PICTURE_DTYPES, Picture
from framencc.kernels import float_ncc, integer_ncc
from framencc.kernels.threads import default_threads, share_rows, tile_rows
from framencc.spec import Border, NccSpec, make_ncc_spec

Map = npt.NDArray[np.float32]
Validity = npt.NDArray[np.uint8]

_NO_MAP = np.empty((0, 0), np.float32)
_NO_VALIDITY = np.empty((0, 0), np.uint8)


@dataclass(frozen=True)
class _Prepared:
    """What the kernel of one arithmetic needs of a reference."""

    kernel: Any
    reference: Any
    settings: Any

    def correlate(self, frame: Picture, out: Map, validity: Validity, threads: int) -> None:
        share_rows(
            lambda y0, y1: self.kernel(self.reference, frame, self.settings, y0, y1, out, validity),
            frame.shape[0],
            tile_rows(self.settings.radius),
            threads,
        )


class Reference:
    """A reference picture, prepared once, against which any number of frames is correlated.

    For every pixel, over the window of the pixels within Chebyshev distance `radius` (definition: zero-mean normalized
    cross-correlation, Pearson's correlation of the two windows)::

        rho = (S_RF + p n s^2) / sqrt((S_RR + n s^2) (S_FF + n s^2))

    with S the centred sums over the window, n its number of pixels, s = `noise_sigma`, p = `flat`. Against a float64
    two-pass loop the error is at most 1e-6 for integer pictures of any content, and 1e-5 for float pictures whose
    standard deviation in the window is at least 1e-3 of its mean. The result has the same bits for any `threads`.

    Parameters
    ----------
    image
        (H, W), or (H, W, C) of which the luma is taken; uint8, uint16 or float32 (float64 is converted). Any strides;
        read-only arrays are fine. The picture is copied.
    radius
        Window radius in pixels, 1 to 127; the window's side is 2 * radius + 1.
    border
        ``shrink``: the window is cut at the edge; ``valid``: pixels whose window leaves the picture are invalid (code
        3, value `fill`); ``reflect``: the picture is mirrored (NumPy's ``symmetric``).
    flat
        Value of a window in which either picture has no texture, -1 to 1 or NaN, and the prior p. Integer windows are
        flat when all their pixels are equal, float windows when S <= 2^-44 sum(x^2), which is a standard deviation of
        2.4e-7 of the root mean square.
    noise_sigma
        Standard deviation s of the sensor noise in code values; 0 switches the noise model off.
    fill
        Value of the pixels without a measurement.
    threads
        Threads to use; by default NUMBA_NUM_THREADS or all cores.

    Raises
    ------
    SpecError
        (a ValueError) When an option is out of range, or the picture has no supported shape or dtype.
    """

    def __init__(
        self,
        image: npt.ArrayLike,
        radius: int = NccSpec.model_fields["radius"].default,
        *,
        border: Border = NccSpec.model_fields["border"].default,
        flat: float = NccSpec.model_fields["flat"].default,
        noise_sigma: float = NccSpec.model_fields["noise_sigma"].default,
        fill: float = NccSpec.model_fields["fill"].default,
        threads: int | None = None,
    ) -> None:
        self.spec = make_ncc_spec(radius=radius, border=border, flat=flat, noise_sigma=noise_sigma, fill=fill)
        self._threads = _checked_threads(threads)
        self._image = _checked_picture(image, "reference")
        self._prepared: dict[np.dtype[Any], _Prepared] = {}
        # So that the first frame costs no more than the others, unless it brings another dtype.
        self._prepare(self._image.dtype)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self._image.shape
        return height, width

    @overload
    def ncc(self, frame: npt.ArrayLike, out: Map | None = None, *, return_validity: Literal[False] = False) -> Map: ...

    @overload
    def ncc(
        self, frame: npt.ArrayLike, out: Map | None = None, *, return_validity: Literal[True]
    ) -> tuple[Map, Validity]: ...

    def ncc(
        self, frame: npt.ArrayLike, out: Map | None = None, *, return_validity: bool = False
    ) -> Map | tuple[Map, Validity]:
        """Correlate a frame with the reference.

        Parameters
        ----------
        frame
            Of the reference's height and width; dtypes as for the reference. Where the two dtypes differ, both are
            taken in the wider one, values unchanged.
        out
            C-contiguous writable (H, W) float32 array for the map; a new one if omitted.
        return_validity
            Also return why a pixel has no measured value.

        Returns
        -------
        rho : numpy.ndarray
            (H, W) float32 in [-1, 1], or `flat` and `fill` where there is no measurement.
        validity : numpy.ndarray
            Only with `return_validity`: (H, W) uint8; 0 measured, 1 flat reference, 2 flat frame (both flat is 1),
            3 outside.

        Raises
        ------
        SpecError
            (a ValueError) When the shapes differ, or a picture or `out` is of no supported kind.
        """
        picture = _checked_picture(frame, "frame")
        if picture.shape != self.shape:
            raise SpecError(f"the frame has shape {picture.shape}, the reference {self.shape}; they must be equal")
        rho = self._checked_out(out, picture)
        validity = np.empty(self.shape, np.uint8) if return_validity else _NO_VALIDITY
        self.correlate(picture, rho, validity)
        return (rho, validity) if return_validity else rho

    def correlate(self, picture: Picture, rho: Map, validity: Validity) -> None:
        """Fill `rho`, and `validity` unless it is empty, from a C-contiguous (H, W) picture; nothing is checked."""
        dtype = np.result_type(self._image.dtype, picture.dtype)
        picture = _frozen(picture.astype(dtype, copy=False))
        self._prepare(dtype).correlate(picture, rho, validity, self._threads)
        if self.spec.border == "valid":
            _mark_margin(rho, self.spec.radius, np.float32(self.spec.fill))
            if validity.size:
                _mark_margin(validity, self.spec.radius, np.uint8(3))

    def _prepare(self, dtype: np.dtype[Any]) -> _Prepared:
        if dtype not in self._prepared:
            self._prepared[dtype] = _prepare(_frozen(self._image.astype(dtype)), self.spec)
        return self._prepared[dtype]

    def _checked_out(self, out: Map | None, picture: Picture) -> Map:
        if out is None:
            return np.empty(self.shape, np.float32)
        if (
            not isinstance(out, np.ndarray)
            or out.shape != self.shape
            or out.dtype != np.float32
            or not out.flags.c_contiguous
            or not out.flags.writeable
        ):
            raise SpecError(f"out must be a C-contiguous writable float32 array of shape {self.shape}")
        if np.may_share_memory(out, picture):
            raise SpecError("out must not share memory with the frame")
        return out


@overload
def local_ncc(
    reference: npt.ArrayLike,
    frame: npt.ArrayLike,
    radius: int = ...,
    *,
    border: Border = ...,
    flat: float = ...,
    noise_sigma: float = ...,
    fill: float = ...,
    out: Map | None = ...,
    return_validity: Literal[False] = ...,
    threads: int | None = ...,
) -> Map: ...


@overload
def local_ncc(
    reference: npt.ArrayLike,
    frame: npt.ArrayLike,
    radius: int = ...,
    *,
    border: Border = ...,
    flat: float = ...,
    noise_sigma: float = ...,
    fill: float = ...,
    out: Map | None = ...,
    return_validity: Literal[True],
    threads: int | None = ...,
) -> tuple[Map, Validity]: ...


def local_ncc(
    reference: npt.ArrayLike,
    frame: npt.ArrayLike,
    radius: int = NccSpec.model_fields["radius"].default,
    *,
    out: Map | None = None,
    return_validity: bool = False,
    **options: Any,
) -> Map | tuple[Map, Validity]:
    """Correlate one frame with one reference; `Reference` documents the formula and every option.

    Parameters
    ----------
    reference, frame
        Pictures of one shape: (H, W), or (H, W, C) of which the luma is taken; uint8, uint16 or float32.
    radius
        Window radius in pixels, 1 to 127.
    out
        C-contiguous writable (H, W) float32 array for the map; a new one if omitted.
    return_validity
        Also return the (H, W) uint8 validity codes.
    **options
        ``border``, ``flat``, ``noise_sigma``, ``fill`` and ``threads`` of `Reference`.

    Returns
    -------
    numpy.ndarray or tuple of numpy.ndarray
        (H, W) float32 map, or the map and its validity.

    Raises
    ------
    SpecError
        (a ValueError) As `Reference` and `Reference.ncc` do.
    """
    prepared = Reference(reference, radius, **options)
    if return_validity:
        return prepared.ncc(frame, out, return_validity=True)
    return prepared.ncc(frame, out)


def _prepare(picture: Picture, spec: NccSpec) -> _Prepared:
    height, width = picture.shape
    kernel: Any
    reference: Any
    settings: Any
    if picture.dtype == np.float32:
        kernel = float_ncc.correlate_rows
        settings = float_ncc.float_settings(
            spec.radius, spec.border, spec.flat, spec.noise_sigma, tile_rows(spec.radius)
        )
        reference = float_ncc.FloatReference(picture, np.empty(picture.shape), np.empty(picture.shape))
    else:
        kernel = integer_ncc.correlate_rows
        settings = integer_ncc.integer_settings(
            picture.dtype, width, spec.radius, spec.border, spec.flat, spec.noise_sigma
        )
        sums = np.empty(picture.shape, settings.accumulator.dtype)
        reference = integer_ncc.IntegerReference(picture, sums, np.empty(picture.shape, np.float32))
    kernel(reference, picture, settings, 0, height, _NO_MAP, _NO_VALIDITY)
    return _Prepared(kernel, reference, settings)


def _checked_picture(image: npt.ArrayLike, name: str) -> Picture:
    """Return the C-contiguous luma of a picture in one of the three dtypes."""
    picture = np.asarray(image)
    if picture.dtype == np.float64:
        with np.errstate(over="ignore"):
            picture = picture.astype(np.float32)
    picture = picture.astype(picture.dtype.newbyteorder("="), copy=False)
    if picture.dtype not in PICTURE_DTYPES:
        raise SpecError(f"the {name} has dtype {picture.dtype}; supported are uint8, uint16, float32 and float64")
    try:
        picture = to_luma(picture)
    except ValueError as error:
        raise SpecError(f"the {name} has shape {picture.shape}: {error}") from None
    if picture.size == 0:
        raise SpecError(f"the {name} has shape {picture.shape}, which holds no pixel")
    # The extremes are NaN where any pixel is, and infinite where any is.
    if picture.dtype == np.float32 and not (np.isfinite(picture.min()) and np.isfinite(picture.max())):
        raise SpecError(f"the {name} holds pixels that are not finite (NaN or infinity); replace them first")
    return np.ascontiguousarray(picture)


def _checked_threads(threads: int | None) -> int:
    if threads is None:
        return default_threads()
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise SpecError(f"threads must be at least 1, not {threads!r}")
    return threads


def _frozen(picture: Picture) -> Picture:
    """Return a read-only view: kernels are compiled for one kind of input, and cannot write to it."""
    view = np.ascontiguousarray(picture).view()
    view.flags.writeable = False
    return view


def _mark_margin(array: npt.NDArray[Any], radius: int, value: np.generic) -> None:
    array[:radius] = value
    array[-radius:] = value
    array[:, :radius] = value
    array[:, -radius:] = value
