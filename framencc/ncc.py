"""Local normalized cross-correlation on arrays: `local_ncc` for one pair, `Reference` for many frames."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from framencc.arguments import checked_mask, checked_out, checked_threads, take_planes
from framencc.config import make_ncc_spec
from framencc.engine import Engine, Map, Validity
from framencc.errors import SpecError
from framencc.frames import Picture, Use
from framencc.kernels.scoring import Following, Tally
from framencc.spec.ncc import Alpha, Border, Channel, Combine, NccSpec, RgbMatrix
from framencc.usable import find_unusable

_DEFAULT = {name: field.default for name, field in NccSpec.model_fields.items()}
_NO_VALIDITY: Validity = np.empty((1, 0), np.uint8)


class Reference:
    """A reference picture, prepared once, against which any number of frames is correlated.

    For every pixel, over the window of the pixels within Chebyshev distance `radius` (definition: zero-mean normalized
    cross-correlation, Pearson's correlation of the two windows)::

        rho = (S_RF + p n s^2) / sqrt((S_RR + n s^2) (S_FF + n s^2))

    with S the centred sums over the window, n its number of pixels, s = `noise_sigma`, p = `flat`. Against a float64
    two-pass loop the error is at most 1e-6 for integer pictures of any content, and 1e-5 for float pictures whose
    standard deviation in the window is at least 1e-3 of its mean. The result has the same bits for any `threads`.

    With several channels (`channel` = ``joint``) each is centred by its own mean, and the sums are pooled over them,
    n s^2 once for each.

    Parameters
    ----------
    image
        (H, W), or (H, W, C) with C = 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA); uint8, uint16 or float32 (float64
        is converted). Any strides; read-only arrays are fine. The picture is copied.
    radius
        Window radius in pixels, 1 to 127; the window's side is 2 * radius + 1. Of several radii the maps are combined.
    border
        ``shrink``: the window is cut at the edge; ``valid``: pixels whose window leaves the picture are invalid (code
        3, value `fill`); ``reflect``: the picture is mirrored (NumPy's ``symmetric``).
    flat
        Value of a window in which either picture has no texture, -1 to 1 or NaN, and the prior p. Integer windows are
        flat when all their pixels are equal, float windows when S <= 2^-44 sum(x^2), which is a standard deviation of
        2.4e-7 of the root mean square.
    noise_sigma
        Standard deviation s of the sensor noise in code values, 1e-6 to 1e6; 0 switches the noise model off.
    mask
        (H, W) array of any dtype: pixels where it is > 0 are used, all others take no part in any window. For every
        frame; `ncc` takes one for a single frame. It is copied.
    mask_labels
        Labels, 0 to 65535: of every mask the pixels that hold one of them are used, not those > 0. Masks then hold
        integers.
    alpha
        Whose alpha channel, of a picture with C = 2 or 4, serves as a mask as well (pixels where it is > 0 are used):
        that of the ``reference``, of each ``frame``, of ``both``, or ``ignore``.
    min_valid_fraction
        Share, above 0 up to 1, of a window's pixels in the picture that must be usable (else code 5).
    channel
        ``luma``, ``red``, ``green``, ``blue``, or ``joint``: all three of them.
    rgb_matrix
        Whose weights make luma of RGB: ``bt601`` (also ``auto``, as in JPEG files), ``bt709`` or ``bt2020``.
    combine
        How the maps of several radii become one: their ``mean``, ``min`` or ``max`` at each pixel, over the radii that
        measured it. Where none did, the first radius of the list says why.
    smooth_sigma
        Standard deviation in pixels of a Gaussian, cut at 3 sigma, that smooths the finished map over the pixels that
        hold a value (codes 0, 1 and 2), normalised by their weights; 1e-6 to 127, or 0, which switches it off.
    fill
        Value of the pixels without a measurement (codes 3 to 7): a float32 number or NaN.
    threads
        Threads to use; by default NUMBA_NUM_THREADS or all cores.

    Raises
    ------
    SpecError
        (a ValueError) When an option is out of range, or a picture has no supported shape or dtype.
    """

    def __init__(
        self,
        image: npt.ArrayLike,
        radius: int | Sequence[int] = _DEFAULT["radius"],
        *,
        border: Border = _DEFAULT["border"],
        flat: float = _DEFAULT["flat"],
        noise_sigma: float = _DEFAULT["noise_sigma"],
        mask: npt.ArrayLike | None = None,
        mask_labels: Sequence[int] | None = _DEFAULT["mask_labels"],
        alpha: Alpha = _DEFAULT["alpha"],
        min_valid_fraction: float = _DEFAULT["min_valid_fraction"],
        channel: Channel = _DEFAULT["channel"],
        rgb_matrix: RgbMatrix = _DEFAULT["rgb_matrix"],
        combine: Combine = _DEFAULT["combine"],
        smooth_sigma: float = _DEFAULT["smooth_sigma"],
        fill: float = _DEFAULT["fill"],
        threads: int | None = None,
    ) -> None:
        spec = make_ncc_spec(
            radius=radius,
            border=border,
            flat=flat,
            noise_sigma=noise_sigma,
            mask_labels=mask_labels,
            alpha=alpha,
            min_valid_fraction=min_valid_fraction,
            channel=channel,
            rgb_matrix=rgb_matrix,
            combine=combine,
            smooth_sigma=smooth_sigma,
            fill=fill,
        )
        if rgb_matrix != "auto" and channel != "luma":
            raise SpecError(f"rgb_matrix = {rgb_matrix} cannot apply: channel = {channel} is taken as it is stored")
        n_threads = checked_threads(threads)
        planes, use = take_planes(image, "reference", spec)
        if mask is not None:
            use = _both(use, checked_mask(mask, planes.shape[1:], spec.mask_labels))
        self._prepare(planes, use, spec, n_threads)
        # So that the first frame costs no more than the others, unless it brings another dtype.
        self._engine(self._planes.dtype)
        self._image_shape = np.shape(image)
        self._has_mask = mask is not None

    @classmethod
    def from_planes(
        cls,
        planes: Picture,
        spec: NccSpec,
        *,
        use: Use | None = None,
        scale: float = 1.0,
        threads: int | None = None,
    ) -> "Reference":
        """Prepare a reference whose channels have already been chosen.

        Parameters
        ----------
        planes
            (C, H, W) uint8, uint16 or float32, copied; `spec.channel` is not applied to it.
        spec
            The options.
        use
            (H, W) bool, False for the pixels that are masked; `spec.mask` and `spec.alpha` are not looked at.
        scale
            How many of the reference's codes one code of a frame is: `spec.noise_sigma` is in the frame's codes.
        threads
            As for `Reference`.

        Returns
        -------
        Reference
            Its frames come as planes, too: through `correlate`. What they need is prepared with the first of each kind:
            frames that have been warped are of another dtype than the reference.
        """
        reference = cls.__new__(cls)
        reference._prepare(planes, use, spec, checked_threads(threads), scale)
        reference._image_shape = np.shape(planes)
        reference._has_mask = use is not None
        return reference

    def _prepare(self, planes: Picture, use: Use | None, spec: NccSpec, threads: int, scale: float = 1.0) -> None:
        self.spec = spec
        self._scale = scale
        self._threads = threads
        self._planes = planes.copy()
        self._why = find_unusable(self._planes, use, threads=threads)
        self._engines: dict[np.dtype[Any], Engine] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        _, height, width = self._planes.shape
        return height, width

    @overload
    def ncc(
        self,
        frame: npt.ArrayLike,
        out: Map | None = None,
        *,
        mask: npt.ArrayLike | None = None,
        return_validity: Literal[False] = False,
    ) -> Map: ...

    @overload
    def ncc(
        self,
        frame: npt.ArrayLike,
        out: Map | None = None,
        *,
        mask: npt.ArrayLike | None = None,
        return_validity: Literal[True],
    ) -> tuple[Map, Validity]: ...

    def ncc(
        self,
        frame: npt.ArrayLike,
        out: Map | None = None,
        *,
        mask: npt.ArrayLike | None = None,
        return_validity: bool = False,
    ) -> Map | tuple[Map, Validity]:
        """Correlate a frame with the reference.

        Parameters
        ----------
        frame
            Of the reference's height and width; dtypes as for the reference. Where the two dtypes differ, both are
            taken in the wider one, values unchanged.
        out
            C-contiguous writable (H, W) float32 array for the map; a new one if omitted.
        mask
            (H, W): pixels of this frame where it is > 0 (with `mask_labels`, where it holds one of them) are used, if
            the reference's mask agrees.
        return_validity
            Also return why a pixel has no measured value.

        Returns
        -------
        rho : numpy.ndarray
            (H, W) float32 in [-1, 1], or `flat` and `fill` where there is no measurement.
        validity : numpy.ndarray
            Only with `return_validity`: (H, W) uint8; 0 measured, 1 flat reference, 2 flat frame (both flat is 1),
            3 outside, 4 masked, 5 too few usable pixels, 6 not finite.

        Raises
        ------
        SpecError
            (a ValueError) When the shapes differ, or a picture, a mask or `out` is of no supported kind.
        """
        planes, use = take_planes(frame, "frame", self.spec)
        if self.spec.rgb_matrix != "auto" and _is_gray(self._image_shape) and _is_gray(np.shape(frame)):
            raise SpecError(f"rgb_matrix = {self.spec.rgb_matrix} cannot apply: neither picture is in colour")
        if planes.shape[1:] != self.shape:
            raise SpecError(f"the frame has shape {planes.shape[1:]}, the reference {self.shape}; they must be equal")
        if len(planes) != len(self._planes):
            raise SpecError(
                f"the frame has shape {np.shape(frame)}, the reference {self._image_shape}; channel = joint needs as "
                f"many channels in both"
            )
        rho = checked_out(out, self.shape, planes)
        validity = np.empty(self.shape, np.uint8) if return_validity else _NO_VALIDITY
        if mask is not None:
            use = _both(use, checked_mask(mask, self.shape, self.spec.mask_labels))
        elif self.spec.mask_labels is not None and not self._has_mask:
            raise SpecError("mask_labels needs a mask: there is none whose labels could be chosen")
        self.correlate(planes, rho, validity, use)
        return (rho, validity) if return_validity else rho

    def correlate(
        self,
        planes: Picture,
        rho: Map,
        validity: Validity,
        use: Use | None = None,
        codes: Validity | None = None,
        begin: Callable[[int], tuple[Following, Tally]] | None = None,
    ) -> None:
        """Fill `rho`, and `validity` unless it is empty; shapes are not checked.

        `planes` is (C, H, W); `use` is (H, W) bool, False for the pixels of this frame that are masked; `codes` is
        (H, W) uint8, not 0 for the pixels that have no value, and why (3 outside, 4 masked, 7 check failed). `begin` is
        given the number of bands, and says what else is done with each row in the same pass (`Scorer.begin`).
        """
        why = find_unusable(planes, use, known=self._why, codes=codes, threads=self._threads)
        engine = self._engine(planes.dtype)
        dtype = np.result_type(self._planes.dtype, planes.dtype)
        more = (None, None) if begin is None else begin(engine.n_bands)
        engine.measure(planes.astype(dtype, copy=False), why, rho, validity if validity.size else None, *more)

    def _engine(self, frame_dtype: np.dtype[Any]) -> Engine:
        if frame_dtype not in self._engines:
            own = self._planes.dtype
            planes = self._planes.astype(np.result_type(own, frame_dtype), copy=False)
            self._engines[frame_dtype] = Engine(
                planes, self.spec, dtypes=(own, frame_dtype), why=self._why, scale=self._scale, threads=self._threads
            )
        return self._engines[frame_dtype]


def local_ncc(
    reference: npt.ArrayLike,
    frame: npt.ArrayLike,
    radius: int | Sequence[int] = _DEFAULT["radius"],
    *,
    border: Border = _DEFAULT["border"],
    flat: float = _DEFAULT["flat"],
    noise_sigma: float = _DEFAULT["noise_sigma"],
    mask: npt.ArrayLike | None = None,
    mask_labels: Sequence[int] | None = _DEFAULT["mask_labels"],
    alpha: Alpha = _DEFAULT["alpha"],
    min_valid_fraction: float = _DEFAULT["min_valid_fraction"],
    channel: Channel = _DEFAULT["channel"],
    rgb_matrix: RgbMatrix = _DEFAULT["rgb_matrix"],
    combine: Combine = _DEFAULT["combine"],
    smooth_sigma: float = _DEFAULT["smooth_sigma"],
    fill: float = _DEFAULT["fill"],
    out: Map | None = None,
    return_validity: bool = False,
    threads: int | None = None,
) -> Any:
    """Correlate one frame with one reference.

    The same as ``Reference(reference, radius, ...).ncc(frame, out)``; `Reference` gives the formula and the promises.

    Parameters
    ----------
    reference, frame
        Pictures of one height and width: (H, W) or (H, W, C); uint8, uint16 or float32 (float64 is converted).
    radius, border, flat, noise_sigma, mask, mask_labels, alpha, min_valid_fraction, channel, rgb_matrix, combine
        As for `Reference`.
    smooth_sigma, fill, threads
        As for `Reference`.
    out
        C-contiguous writable (H, W) float32 array for the map; a new one if omitted.
    return_validity
        Also return the (H, W) uint8 validity codes.

    Returns
    -------
    numpy.ndarray or tuple of numpy.ndarray
        (H, W) float32 map in [-1, 1]; with `return_validity` the map and its validity codes.

    Raises
    ------
    SpecError
        (a ValueError) As `Reference` and `Reference.ncc` do.
    """
    prepared = Reference(
        reference,
        radius,
        border=border,
        flat=flat,
        noise_sigma=noise_sigma,
        mask=mask,
        mask_labels=mask_labels,
        alpha=alpha,
        min_valid_fraction=min_valid_fraction,
        channel=channel,
        rgb_matrix=rgb_matrix,
        combine=combine,
        smooth_sigma=smooth_sigma,
        fill=fill,
        threads=threads,
    )
    if return_validity:
        return prepared.ncc(frame, out, return_validity=True)
    return prepared.ncc(frame, out)


def _is_gray(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or shape[2] <= 2


def _both(use: Use | None, other: Use) -> Use:
    return other if use is None else use & other
