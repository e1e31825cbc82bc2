"""The options of the correlation put to work: one reference, prepared for one dtype and every radius."""

import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.frames import Picture, frozen
from framencc.kernels import float_ncc, integer_ncc, maps, plane_ncc, pooled_ncc, radii_ncc
from framencc.kernels.exclusion import BLOCK, Excluded, find_blocks, share_touched
from framencc.kernels.integer_steps import IntegerReference, Noise, integer_settings
from framencc.kernels.threads import SMALLEST_CHUNK, share_rows
from framencc.spec.ncc import NccSpec

Map = npt.NDArray[np.float32]
Validity = npt.NDArray[np.uint8]

VALIDITY_CODES = (
    "measured",
    "flat reference",
    "flat frame",
    "outside",
    "masked",
    "too few usable pixels",
    "not finite",
    "forward-backward check failed",
    "damaged frame",
    "no warp was found",
)
MASKED, NOT_FINITE, OUTSIDE, DAMAGED, NO_WARP = np.uint8(4), np.uint8(6), np.uint8(3), np.uint8(8), np.uint8(9)
# One row without a pixel: kernels look at the first row of an empty array.
NO_MAP: Map = np.empty((1, 0), np.float32)
NO_CODES: Validity = np.empty((1, 0), np.uint8)
NO_CODES.flags.writeable = False
_NO_VALIDITY: Validity = np.empty((1, 0), np.uint8)

_STEP_ROWS = 128
# Up to which share of the windows it is the shorter way to sum all and take back what masked pixels add to some.
_MOST_TOUCHED = 1 / 16
_COMBINE = {"mean": maps.MEAN, "min": maps.MINIMUM, "max": maps.MAXIMUM}


@dataclass(frozen=True)
class _OneRadius:
    """A reference prepared for one radius, or for several at once."""

    reference: Any
    settings: Any

    def correlate(self, frame: Picture, excluded: Excluded, y0: int, y1: int, out: Map, validity: Validity) -> None:
        why, rows = excluded.why, (self.settings, y0, y1, out, validity)
        if isinstance(self.reference, radii_ncc.RadiiReference):
            radii_ncc.correlate_radii(self.reference, frame, *rows)
        elif isinstance(self.reference, float_ncc.FloatReference):
            if why.size or frame.shape[0] > 1 or self.settings.reflect:
                float_ncc.correlate_floats(self.reference, frame, why, *rows)
            else:
                plane_ncc.correlate_plane(self.reference, frame, *rows)
        elif frame.shape[0] == 1 and not why.size:
            integer_ncc.correlate_rows(self.reference, frame, None, *rows)
        elif frame.shape[0] == 1 and share_touched(excluded.blocks, self.settings.radius, y0, y1) <= _MOST_TOUCHED:
            integer_ncc.correlate_rows(self.reference, frame, excluded, *rows)
        else:
            pooled_ncc.pool_rows(self.reference, frame, why, *rows)


class Engine:
    """A reference prepared for one dtype.

    Parameters
    ----------
    planes
        (C, H, W) uint8, uint16 or float32 channels of the reference.
    spec
        The options.
    dtypes
        What the reference and the frames hold by themselves; in float32 planes there may be integers.
    masked
        Whether every frame will come with codes: then nothing of the reference can be summed beforehand.
    scale
        How many of the reference's codes one code of a frame is; `spec.noise_sigma` is in the frame's.
    """

    def __init__(
        self,
        planes: Picture,
        spec: NccSpec,
        *,
        dtypes: tuple[np.dtype[Any], np.dtype[Any]],
        masked: bool,
        scale: float = 1.0,
    ) -> None:
        self._spec = spec
        self._shape = planes.shape[1:]
        self._local = threading.local()
        radii = (spec.radius,) if isinstance(spec.radius, int) else spec.radius
        # A piece of the picture begins with 2 r rows that only fill the first windows; they should cost little.
        self._smallest_chunk = max(SMALLEST_CHUNK, 4 * max(radii))
        # Float sums start anew at each tile, so a tile must follow from the options alone.
        self._tile_rows = float_ncc.tile_rows(max(radii)) if planes.dtype == np.float32 else 1
        planes = frozen(planes)
        if planes.dtype == np.float32:
            floats, integers = float_ncc.FLAT_SHARE_OF_FLOATS, float_ncc.FLAT_SHARE_OF_INTEGERS
            shares = tuple(floats if dtype == np.float32 else integers for dtype in dtypes)
            self._radii = [
                _prepare_floats(planes, spec, scale, radius, self._tile_rows, shares, masked) for radius in radii
            ]
        elif planes.dtype == np.uint8 and len(planes) == 1 and len(radii) > 1 and not masked and spec.border != "valid":
            self._radii = [_prepare_radii(planes, spec, scale, radii)]
        else:
            self._radii = [_prepare_integers(planes, spec, scale, radius, masked) for radius in radii]

    def correlate(self, frame: Picture, why: Validity, rho: Map, validity: Validity, threads: int) -> None:
        """Fill `rho`, and `validity` unless it is empty.

        Parameters
        ----------
        frame
            (C, H, W) like the reference's planes, of the same dtype.
        why
            (H, W) uint8: 0 for the pixels that count, otherwise their code; or empty, and all count.
        rho, validity
            (H, W) float32 and uint8.
        threads
            How many threads to use.
        """
        smooth = self._spec.smooth_sigma > 0
        # Whatever follows the correlation needs to know which pixels hold a value.
        if not validity.size and (why.size or smooth or len(self._radii) > 1):
            validity = np.empty(self._shape, np.uint8)
        target = np.empty(self._shape, np.float32) if smooth else rho
        frame, excluded = frozen(frame), self._excluded(why, threads)
        one = self._one_radius if len(self._radii) == 1 else self._all_radii
        share_rows(
            lambda y0, y1: one(frame, excluded, y0, y1, target[y0:y1], validity[y0:y1] if validity.size else validity),
            self._shape[0],
            threads,
            multiple=self._tile_rows,
            smallest=self._smallest_chunk,
        )
        if smooth:
            weights = _gaussian(self._spec.smooth_sigma)
            with_flat = not math.isnan(self._spec.flat)
            share_rows(
                lambda y0, y1: maps.smooth_rows(target, validity, weights, with_flat, y0, y1, rho),
                self._shape[0],
                threads,
            )

    def _excluded(self, why: Validity, threads: int) -> Excluded:
        """Say where the pixels are that do not count; of one channel of integers by blocks, too."""
        why, blocks = frozen(why), NO_CODES
        if why.size and isinstance(self._radii[0].reference, IntegerReference) and self._radii[0].reference.sums.size:
            height, width = self._shape
            found: Validity = np.empty((height, -(-width // BLOCK)), np.uint8)
            share_rows(lambda y0, y1: find_blocks(why, y0, y1, found), height, threads)
            blocks = frozen(found)
        return Excluded(why, blocks)

    def _one_radius(
        self, frame: Picture, excluded: Excluded, y0: int, y1: int, out: Map, validity: Validity, which: int = 0
    ) -> None:
        one = self._radii[which]
        one.correlate(frame, excluded, y0, y1, out, validity)
        if self._spec.border == "valid":
            _mark_margin(out, validity, y0, self._shape[0], one.settings.radius, np.float32(self._spec.fill))

    def _all_radii(self, frame: Picture, excluded: Excluded, y0: int, y1: int, out: Map, validity: Validity) -> None:
        # In steps whose maps stay in the cache, into buffers that stay with the thread: fresh ones cost more time in
        # page faults than the combining takes.
        n_rows = y1 - y0
        step = -(-n_rows // max(1, round(n_rows / max(_STEP_ROWS, self._smallest_chunk))))
        step = -(-step // self._tile_rows) * self._tile_rows
        each, codes = self._scratch(min(step, n_rows))
        for top in range(y0, y1, step):
            bottom = min(y1, top + step)
            rows = slice(0, bottom - top)
            for which in range(len(self._radii)):
                self._one_radius(frame, excluded, top, bottom, each[which, rows], codes[which, rows], which)
            part = slice(top - y0, bottom - y0)
            how = _COMBINE[self._spec.combine]
            maps.combine_rows(each, codes, how, out[part], validity[part])

    def _scratch(self, n_rows: int) -> tuple[Map, Validity]:
        """Return this thread's buffers for the maps of every radius."""
        kept: tuple[Map, Validity] | None = getattr(self._local, "scratch", None)
        if kept is None or kept[0].shape[1] < n_rows:
            shape = (len(self._radii), n_rows, self._shape[1])
            kept = np.empty(shape, np.float32), np.empty(shape, np.uint8)
            self._local.scratch = kept
        return kept


def _energies(spec: NccSpec, n_channels: int, scale: float) -> tuple[float, float, float]:
    """Return what noise adds to the variance of a frame, of the reference, and to their covariance, over n^2."""
    sigma, own_sigma = float(spec.noise_sigma), float(spec.noise_sigma) * scale
    prior = spec.flat * (n_channels * (sigma * own_sigma)) if sigma > 0 else 0.0
    return n_channels * sigma**2, n_channels * own_sigma**2, prior


def _prepare_integers(planes: Picture, spec: NccSpec, scale: float, radius: int, masked: bool) -> _OneRadius:
    n_channels, height, width = planes.shape
    settings = integer_settings(
        planes.dtype,
        width,
        radius=radius,
        reflect=spec.border == "reflect",
        flat=spec.flat,
        noise=Noise(*map(np.float32, _energies(spec, n_channels, scale))),
        fill=spec.fill,
        min_valid_fraction=spec.min_valid_fraction,
    )
    # With masks nothing is known beforehand of several channels; of one, what windows without a masked pixel hold.
    shape = (0, 0) if masked and n_channels > 1 else (height, width)
    accumulator = settings.accumulator.dtype
    sums, roots = np.empty((n_channels, *shape), accumulator), np.zeros(shape, np.float32)
    squares = np.empty(shape if masked and n_channels == 1 else (0, 0), accumulator)
    reference = IntegerReference(planes, sums, roots, squares)
    if sums.size:
        own = np.float32(_energies(spec, 1, scale)[1])
        one_channel = settings._replace(noise=Noise(own, own, own))
        for channel in range(n_channels):
            part = slice(channel, channel + 1)
            one = IntegerReference(planes[part], sums[part], roots, squares)
            integer_ncc.correlate_rows(one, planes[part], None, one_channel, 0, height, NO_MAP, _NO_VALIDITY)
        _invert_roots(roots)
    return _OneRadius(reference, settings)


def _prepare_radii(planes: Picture, spec: NccSpec, scale: float, radii: tuple[int, ...]) -> _OneRadius:
    shape = (len(radii), *planes.shape[1:])
    reference = radii_ncc.RadiiReference(
        planes, np.array(radii), np.empty(shape, np.uint32), np.empty(shape, np.float32)
    )
    noise, how = Noise(*map(np.float32, _energies(spec, 1, scale))), _COMBINE[spec.combine]
    settings = radii_ncc.RadiiSettings(spec.border == "reflect", np.float32(spec.flat), noise, how)
    own = settings._replace(noise=noise._replace(frame=noise.reference))
    radii_ncc.correlate_radii(reference, planes, own, 0, shape[1], NO_MAP, _NO_VALIDITY)
    _invert_roots(reference.scale)
    return _OneRadius(reference, settings)


def _invert_roots(scale: npt.NDArray[np.float32]) -> None:
    """Turn variances into 1 / sqrt, but for the zeros of flat windows."""
    textured = scale > 0
    # In float32, as it is taken where pixels are masked: which way a window is summed must not show in its bits.
    np.divide(np.float32(1.0), np.sqrt(scale), out=scale, where=textured)


def _prepare_floats(
    planes: Picture,
    spec: NccSpec,
    scale: float,
    radius: int,
    rows: int,
    flat_shares: tuple[float, ...],
    masked: bool,
) -> _OneRadius:
    n_channels, height, width = planes.shape
    noise, reference_noise, prior = _energies(spec, n_channels, scale)
    alone = n_channels == 1 and not masked and spec.border != "reflect"
    settings = float_ncc.FloatSettings(
        radius=radius,
        reflect=spec.border == "reflect",
        flat=float(spec.flat),
        flat_share=flat_shares[1],
        reference_flat_share=flat_shares[0],
        noise=noise,
        reference_noise=reference_noise,
        prior=prior,
        fill=float(spec.fill),
        min_valid_fraction=float(spec.min_valid_fraction),
        tile_rows=rows,
        tile_columns=plane_ncc.tile_columns(radius)
        if alone
        else float_ncc.tile_columns(radius, n_channels * (6 if masked else 3)),
    )
    shape = (0, 0) if masked else (height, width)
    sums, textured = np.empty((n_channels, *shape)), np.empty((n_channels, *((0, 0) if alone else shape)), np.uint8)
    reference = float_ncc.FloatReference(planes, sums, textured, np.empty(shape))
    own = settings._replace(flat_share=settings.reference_flat_share, noise=reference_noise)
    if alone:
        plane_ncc.correlate_plane(reference, planes, own, 0, height, NO_MAP, _NO_VALIDITY)
    elif not masked:
        float_ncc.correlate_floats(reference, planes, NO_CODES, own, 0, height, NO_MAP, _NO_VALIDITY)
    return _OneRadius(reference, settings)


def _mark_margin(out: Map, validity: Validity, y0: int, height: int, radius: int, fill: np.float32) -> None:
    """Mark the pixels whose window leaves the picture; what is masked or not finite keeps its code."""
    n_rows, width = out.shape
    top, bottom = max(0, radius - y0), max(0, height - radius - y0)
    columns = min(radius, width)
    margins = (np.s_[:top], np.s_[bottom:], np.s_[:, :columns], np.s_[:, width - columns :])
    for margin in margins[: 4 if n_rows else 0]:
        out[margin] = fill
        if validity.size:
            codes = validity[margin]
            codes[(codes != MASKED) & (codes != NOT_FINITE)] = OUTSIDE


def _gaussian(sigma: float) -> npt.NDArray[np.float64]:
    reach = math.ceil(3 * sigma)
    return np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma * sigma))
