"""The options of the correlation put to work: one reference, prepared for one dtype and every radius."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.following import follow
from framencc.frames import Picture
from framencc.kernels import combination, correlation, window_sums
from framencc.kernels.launch import count_bands, launch
from framencc.kernels.scoring import Following, Tally
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
# Standard deviations up to about 2.4e-7 of the root mean square are flat: two to four times float32's own spacing, and
# thirty times the rounding of the sums. Of integers that came beside floats no texture is below (n - 1) / (n 65535)^2.
_FLAT_SHARE_OF_FLOATS, _FLAT_SHARE_OF_INTEGERS = 2.0**-44, 2.0**-50
_COMBINE = {"mean": combination.MEAN, "min": combination.MINIMUM, "max": combination.MAXIMUM}


@dataclass(frozen=True)
class _Arithmetic:
    """In which numbers sums are taken, and results computed."""

    sums: Any
    results: Any
    widen: bool | None = None
    inexact: bool | None = None

    @classmethod
    def choose(cls, dtype: np.dtype[Any], radius: int) -> "_Arithmetic":
        """Choose for planes of a dtype and the largest radius; why they are exact stands beside the kernels."""
        if dtype == np.float32:
            return cls(np.float64, np.float64, inexact=True)
        if dtype == np.uint8 and radius <= 90:
            return cls(np.int32, np.float32, widen=None if radius <= 9 else True)
        if dtype == np.uint16 and radius <= 18:
            return cls(np.float64, np.float32)
        return cls(np.int64, np.float32)


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
    why
        (H, W) uint8 codes, not 0 for the pixels that count for no frame; None where all do.
    scale
        How many of the reference's codes one code of a frame is; `spec.noise_sigma` is in the frame's.
    threads
        How many threads to use.
    """

    def __init__(
        self,
        planes: Picture,
        spec: NccSpec,
        *,
        dtypes: tuple[np.dtype[Any], np.dtype[Any]],
        why: Validity | None,
        scale: float = 1.0,
        threads: int,
    ) -> None:
        self._spec, self._threads = spec, threads
        self._shape = planes.shape[1:]
        self._radii = np.array((spec.radius,) if isinstance(spec.radius, int) else spec.radius)
        self._arithmetic = _Arithmetic.choose(planes.dtype, int(self._radii.max()))
        self._local = threading.local()
        self._grids: dict[bool, correlation.Grid] = {}
        n_channels, height, width = planes.shape
        n_targets, results = len(self._radii), self._arithmetic.results
        shares = [
            _FLAT_SHARE_OF_FLOATS if dtype == np.float32 else _FLAT_SHARE_OF_INTEGERS for dtype in reversed(dtypes)
        ]
        noise, reference_noise, prior = (results(energy) for energy in _energies(spec, n_channels, scale))
        self._options = correlation.Options(
            flat=results(spec.flat),
            fill=np.float32(spec.fill),
            noise=noise,
            reference_noise=reference_noise,
            prior=prior,
            flat_share=shares[0],
            reference_flat_share=shares[1],
            min_valid_fraction=float(spec.min_valid_fraction),
            border_is_valid=spec.border == "valid",
            how=_COMBINE[spec.combine],
            step=4,
            reflect=spec.border == "reflect",
            widen=self._arithmetic.widen,
            noisy=True if spec.noise_sigma > 0 else None,
            inexact=self._arithmetic.inexact,
            combined=True if n_targets > 1 else None,
        )
        self._why, self._n_channels = why, n_channels
        grid = self._grid(masked=why is not None)
        masked = (n_targets, height, width) if why is not None else (0, 0, 0)
        self._prepared = correlation.Prepared(
            planes=np.ascontiguousarray(planes),
            why=why,
            known=np.empty((n_targets, n_channels, height, width), self._arithmetic.sums),
            scale=np.empty((n_targets, height, width), results),
            counts=np.empty(masked, np.int32),
            codes=np.empty(masked, np.uint8),
            spans=_spans(grid),
            blank=np.zeros(grid.pitch, planes.dtype),
            excluded=np.ones(grid.pitch, np.uint8),
        )
        launch(correlation.prepare, threads, self._prepared, grid, self._options, self._scratch(grid))

    @property
    def n_bands(self) -> int:
        """How many bands of rows are computed side by side."""
        return len(self._grid(masked=False).edges) - 1

    def measure(
        self,
        frame: Picture,
        why: Validity | None,
        rho: Map,
        validity: Validity | None,
        following: Following | None = None,
        tally: Tally | None = None,
    ) -> None:
        """Fill `rho`, and `validity` if it is wanted; do with each row what `following` says.

        Parameters
        ----------
        frame
            (C, H, W) like the reference's planes, of the same dtype.
        why
            (H, W) uint8: 0 for the pixels that count, otherwise their code, those of the reference included; or None,
            and all count.
        rho, validity
            (H, W) float32 and uint8, C-contiguous.
        following, tally
            What else is done with each row of the map, and what it adds up to, in `n_bands` bands; by `Scorer.begin`.
        """
        if validity is None:
            wanted = self._spec.smooth_sigma > 0 or len(self._radii) > 1 or following is not None
            shape = self._shape if wanted else (0, 0)
            validity = self._own(f"validity {shape}", lambda: np.empty(shape, np.uint8))
        if self._spec.smooth_sigma == 0:
            self._correlate(frame, why, rho, validity, following, tally)
            return
        rough = self._own("rough", lambda: np.empty(self._shape, np.float32))
        self._correlate(frame, why, rough, validity, None, None)
        weights, with_flat = _gaussian(self._spec.smooth_sigma), not math.isnan(self._spec.flat)
        room = self._own("smoothing", lambda: np.empty((self.n_bands, 4, self._shape[1] + len(weights)), np.float64))
        launch(combination.smooth, self._threads, rough, validity, weights, with_flat, room, rho)
        if following is not None and tally is not None:
            follow(rho, validity, following, tally, self._threads)

    def _own(self, name: str, make: Callable[[], Any]) -> Any:
        """Return memory of the calling thread; several may use one engine."""
        kept = self._local.__dict__
        if name not in kept:
            kept[name] = make()
        return kept[name]

    def _correlate(
        self,
        planes: Picture,
        why: Validity | None,
        rho: Map,
        validity: Validity,
        following: Following | None,
        tally: Tally | None,
    ) -> None:
        masked = why is not None
        grid = self._grid(masked)
        planes = np.ascontiguousarray(planes)
        frame = correlation.Frame(planes, why, True if masked else None, masked and why is self._why, rho, validity)
        scratch = self._own(f"scratch {masked}", lambda: self._scratch(grid))
        launch(
            correlation.correlate, self._threads, self._prepared, frame, grid, self._options, scratch, following, tally
        )

    def _grid(self, masked: bool) -> correlation.Grid:
        """Lay out the bands and their memory, once for frames with excluded pixels and once for those without."""
        if masked in self._grids:
            return self._grids[masked]
        (height, width), inexact, segment = self._shape, self._arithmetic.inexact, window_sums.SEGMENT
        sides = [2 * int(radius) + 1 for radius in self._radii]
        # Every band begins with rows that only fill its first windows.
        n_bands = count_bands(height, self._threads, smallest=max(32, 2 * max(sides)))
        line = window_sums.LINE
        pitch = -(-(min(width, segment) + max(sides) + line) // line) * line
        n_pieces = 3 if masked and not inexact else 1
        triples = self._n_channels * -(-width // segment) * n_pieces * (2 if masked else 1)
        sizes = [3 * pitch * (side + 3 if inexact else 1) * triples for side in sides]
        self._grids[masked] = correlation.Grid(
            n_channels=self._n_channels,
            height=height,
            width=width,
            pitch=pitch,
            reach=int(self._radii.max()),
            n_pieces=n_pieces,
            radii=self._radii,
            plans=np.stack([window_sums.plan_row_sums(int(radius), pitch) for radius in self._radii]),
            offsets=np.cumsum([0, *sizes]),
            edges=np.linspace(0, height, n_bands + 1).astype(np.int64),
        )
        return self._grids[masked]

    def _scratch(self, grid: correlation.Grid) -> correlation.Scratch:
        segment, n_targets, n_bands = window_sums.SEGMENT, len(self._radii), len(grid.edges) - 1
        kept = n_targets * self._options.step * grid.width if n_targets > 1 else 0
        n_sums = int(grid.offsets[-1]) + segment + window_sums.BUFFERS * 3 * grid.pitch
        return correlation.Scratch(
            sums=_aligned((n_bands, n_sums), self._arithmetic.sums),
            floats=_aligned((n_bands, 3 * segment), self._arithmetic.results),
            maps=np.empty((n_bands, kept + 2 * segment), np.float32),
            codes=np.empty((n_bands, kept + segment + grid.width), np.uint8),
            counts=np.empty((n_bands, n_targets * grid.width + segment), np.int32),
            spans=_spans(grid),
            lowest=np.empty((n_bands, 3 * grid.pitch), np.uint8),
        )


def _spans(grid: correlation.Grid) -> npt.NDArray[np.int64]:
    return np.zeros((len(grid.edges) - 1, -(-grid.width // window_sums.SEGMENT) * grid.n_pieces, 5), np.int64)


def _aligned(shape: tuple[int, int], dtype: Any) -> npt.NDArray[Any]:
    """Return a new array that begins with a cache line."""
    n_bytes, line = math.prod(shape) * np.dtype(dtype).itemsize, 64
    raw = np.empty(n_bytes + line, np.uint8)
    start = -raw.ctypes.data % line
    aligned: npt.NDArray[Any] = raw[start : start + n_bytes].view(dtype).reshape(shape)
    return aligned


def _energies(spec: NccSpec, n_channels: int, scale: float) -> tuple[float, float, float]:
    """Return what noise adds to the variance of a frame, of the reference, and to their covariance, over n^2."""
    sigma, own_sigma = float(spec.noise_sigma), float(spec.noise_sigma) * scale
    prior = spec.flat * (n_channels * (sigma * own_sigma)) if sigma > 0 else 0.0
    return n_channels * sigma**2, n_channels * own_sigma**2, prior


def _gaussian(sigma: float) -> npt.NDArray[np.float64]:
    reach = math.ceil(3 * sigma)
    return np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma * sigma))
