"""The numbers of one frame: how well it matches, whether it is blurred or lit otherwise, and how far it was warped.

docs/scores.md says how to read them. None depends on the number of threads: counts and sums of integers are exact, sums
of floats have a fixed order, and percentiles are read from a histogram.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.following import follow, make_following, make_tally
from framencc.frames import Picture, Regions, frozen
from framencc.kernels.launch import count_bands, default_threads
from framencc.kernels.scoring import (
    BINS,
    BINS_PER_ONE,
    PAIRS_ABOVE,
    PAIRS_RIGHT,
    UNITS_PER_ONE,
    WITH_LENGTH,
    Following,
    Tally,
)
from framencc.spec.scores import ScoresSpec

_DEFAULT_THRESHOLD = float(ScoresSpec.model_fields["threshold"].default)
PERCENTILES = {"median": 50, "p05": 5, "p95": 95}
# A float picture whose variance is no larger a share of its mean square is flat: so much is rounding.
_FLAT = 1e-11

Sums = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class RegionScores:
    """The scores of one region; those that need measured pixels are None where it has none.

    Parameters
    ----------
    n_pixels
        How many pixels the region has.
    mean, median, p05, p95, valid_share, share_below, sharpness_ratio, gain, warp_magnitude
        As of `FrameScores`, over the region's pixels.
    """

    n_pixels: int
    mean: float | None
    median: float | None
    p05: float | None
    p95: float | None
    valid_share: float | None
    share_below: float | None
    sharpness_ratio: float | None
    gain: float | None
    warp_magnitude: float | None


@dataclass(frozen=True, slots=True)
class FrameScores:
    """What one frame says in short; all but the shares of codes are over its measured pixels (validity 0).

    Parameters
    ----------
    mean_confidence
        Mean of rho, exact to 1e-9; None where nothing was measured, as of all that follow.
    valid_share
        Share of the pixels that were measured, 0 to 1.
    code_shares
        Share of the pixels of each validity code, from 0 on (`framencc.engine.VALIDITY_CODES` names them).
    median, p05, p95
        Percentiles 50, 5 and 95 of rho, interpolated linearly between two values as NumPy does; at most 1/8000 off,
        because values are counted in bins of 1/4096. Exact where the values are multiples of 1/4096, such as 0 and 1.
    share_below
        Share of the measured pixels whose rho is below the threshold.
    sharpness_ratio
        Sharpness of the (warped) frame over that of the reference. A picture's sharpness is the mean absolute
        difference between neighbours (right and below), divided by its contrast; so a gain does not change it.
    gain
        Contrast of the (warped) frame over that of the reference, in the reference's codes. A picture's contrast is its
        standard deviation; of several channels the variances are added. None also where one of the two pictures holds
        integers and the other floats, which have no common scale.
    warp_magnitude
        Mean length of the displacements in pixels; None without a warp.
    regions
        The same by the regions' names; None where none were asked for.
    """

    mean_confidence: float | None
    valid_share: float
    code_shares: tuple[float, ...]
    median: float | None = None
    p05: float | None = None
    p95: float | None = None
    share_below: float | None = None
    sharpness_ratio: float | None = None
    gain: float | None = None
    warp_magnitude: float | None = None
    regions: Mapping[str, RegionScores] | None = None


class Scorer:
    """Scores frame after frame of one job; one thread at a time may use it.

    Parameters
    ----------
    shape
        Height and width.
    reference
        (C, H, W) channels that frames are compared with; None: neither sharpness nor gain is wanted.
    scale
        What a frame's codes are multiplied by to be the reference's; None where they have no common scale.
    threshold
        Of `FrameScores.share_below`; compared in float32, as maps are.
    regions
        Parts of the picture to score as well.
    threads
        Kernel threads; all cores if omitted. The result does not depend on it.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        reference: Picture | None = None,
        *,
        scale: float | None = 1.0,
        threshold: float = _DEFAULT_THRESHOLD,
        regions: Regions | None = None,
        threads: int | None = None,
    ) -> None:
        self._shape = shape
        self._reference = frozen(np.empty((0, *shape), np.uint8) if reference is None else reference)
        self._scale = scale
        self._threshold = threshold
        self._threads = threads or default_threads()
        self._names = None if regions is None else tuple(regions.names)
        numbers = _part_numbers(shape, regions)
        self._stretches, self._first = (frozen(array) for array in _stretches(numbers))
        self._n_pixels = np.bincount(numbers.ravel(), minlength=1 + len(self._names or ()))
        self._n_pixels[0] = numbers.size
        self._frame_dtype = self._reference.dtype
        self._following: Following | None = None
        self._tally: Tally | None = None

    def score(
        self, rho: Picture, validity: Picture, planes: Picture | None = None, field: npt.NDArray[Any] | None = None
    ) -> FrameScores:
        """Score a finished map.

        Parameters
        ----------
        rho
            (H, W) float32 map.
        validity
            (H, W) uint8 codes; 0 is valid.
        planes
            (C, H, W) channels of the (warped) frame, where `validity` is 0; None: neither sharpness nor gain is wanted.
        field
            (H, W, 2) float32 displacements in pixels, or the (3, 3) float64 matrix from reference pixels to frame
            pixels; None where the frame was not warped.
        """
        following, tally = self.begin(count_bands(self._shape[0], self._threads), planes, field)
        measured = rho[validity == 0]
        if not np.all(np.abs(measured) <= 1):
            value = float(measured[~(np.abs(measured) <= 1)][0])
            raise ValueError(f"a map holds values from -1 to 1; rho holds {value!r}")
        follow(rho, validity, following, tally, self._threads)
        return self.finish()

    def begin(
        self, n_bands: int, planes: Picture | None = None, field: npt.NDArray[Any] | None = None, **options: Any
    ) -> tuple[Following, Tally]:
        """Return what a kernel needs to score a frame while it is correlated.

        It calls `framencc.kernels.scoring.follow_row` with each finished row of each band, and `follow_edges` after
        the last one. Then `finish` returns the scores.

        Parameters
        ----------
        n_bands
            Number of bands of rows.
        planes, field
            As of `score`.
        options
            What else is done with each row: see `framencc.following.make_following`.
        """
        if planes is None or not self._reference.size:
            frame = np.empty((0, *self._shape), self._frame_dtype)  # as before, so that no other kernel is compiled
        else:
            frame, self._frame_dtype = planes, planes.dtype
        following = make_following(
            self._shape[1],
            frame=frame,
            reference=self._reference,
            field=field,
            threshold=self._threshold,
            stretches=self._stretches,
            first=self._first,
            **options,
        )
        self._tally = self._cleared_tally(n_bands, following)
        self._following = following
        return following, self._tally

    @np.errstate(divide="ignore", invalid="ignore")  # of nothing, a number is NaN here and None in the scores
    def finish(self) -> FrameScores:
        """Return the scores of the frame that was begun, when all its rows have been followed."""
        following, tally = self._following, self._tally
        assert following is not None
        assert tally is not None
        sums = _by_region(tally.counts).T
        counts, totals, n_below, n_pairs = *sums[:PAIRS_RIGHT], sums[PAIRS_RIGHT] + sums[PAIRS_ABOVE]
        unknown = np.full(len(counts), np.nan)
        columns = dict.fromkeys(("sharpness_ratio", "gain", "warp_magnitude"), unknown)
        columns |= {
            "mean": totals / UNITS_PER_ONE / counts,
            **_percentiles(_by_region(tally.histograms)[:, :BINS]),
            "share_below": n_below / counts,
            "valid_share": counts / self._n_pixels,
        }
        if following.frame.size:
            columns |= self._compare_textures(tally, counts, n_pairs)
        if following.field.size or following.matrix.size:
            columns["warp_magnitude"] = _by_region(tally.lengths) / sums[WITH_LENGTH]
        rows = [dict(zip(columns, map(_finite, row), strict=True)) for row in np.stack([*columns.values()], 1).tolist()]
        code_shares = tuple((tally.code_counts.sum(axis=0) / math.prod(self._shape)).tolist())
        whole, *others = rows
        regions = None
        if self._names is not None:
            sizes = self._n_pixels[1:].tolist()
            regions = {
                name: RegionScores(n_pixels=n_pixels, **row)
                for name, n_pixels, row in zip(self._names, sizes, others, strict=True)
            }
        del whole["valid_share"]
        return FrameScores(
            mean_confidence=whole.pop("mean"),
            valid_share=code_shares[0],
            code_shares=code_shares,
            regions=regions,
            **whole,
        )

    def _cleared_tally(self, n_bands: int, following: Following) -> Tally:
        """Return the tally of the frame before, ready for the next; a new one where it does not fit."""
        tally, is_float = self._tally, following.frame.dtype.kind == "f"
        if tally is None or len(tally.rows) != n_bands or (tally.texture.dtype.kind == "f") != is_float:
            return make_tally(n_bands, self._shape, len(self._n_pixels), following)
        tally.rows[:] = -2
        tally.histograms[:] = 0
        return tally

    def _compare_textures(self, tally: Tally, counts: Sums, n_pairs: Sums) -> dict[str, Sums]:
        contrast, step = _texture(_by_region(tally.texture), counts, n_pairs)
        own_contrast, own_step = _texture(_by_region(tally.reference_texture), counts, n_pairs)
        ratio = np.divide(contrast, own_contrast, out=np.full(contrast.shape, np.nan), where=own_contrast > 0)
        gain = ratio * (math.nan if self._scale is None else self._scale)
        known = (ratio > 0) & (own_step > 0)
        sharpness = np.full(contrast.shape, np.nan)
        sharpness[known] = step[known] / own_step[known] / ratio[known]
        return {"sharpness_ratio": sharpness, "gain": gain}


def _part_numbers(shape: tuple[int, int], regions: Regions | None) -> npt.NDArray[np.int32]:
    """Give each pixel the number of its region, from 1 in their order, or 0."""
    if regions is None:
        return np.zeros(shape, np.int32)
    numbers = np.zeros(int(np.iinfo(regions.labels.dtype).max) + 1, np.int32)
    numbers[list(regions.names.values())] = np.arange(1, len(regions.names) + 1)
    return numbers[regions.labels]


def _stretches(numbers: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Cut the rows where the part changes: (part, x0, x1) of each stretch, and which is the first of each row."""
    height, width = numbers.shape
    begins = np.ones(numbers.shape, np.bool_)
    begins[:, 1:] = numbers[:, 1:] != numbers[:, :-1]
    rows, starts = np.nonzero(begins)
    ends = np.where(np.diff(rows, append=height) > 0, width, np.append(starts[1:], 0))
    stretches = np.stack([numbers[rows, starts], starts, ends], axis=1).astype(np.int32)
    return stretches, np.searchsorted(rows, np.arange(height + 1))


def _by_region(sums: Sums) -> Sums:
    """Add up rows or bands, (N, P, ...): of the whole image, and of each region."""
    parts: Sums = sums.sum(axis=0, dtype=sums.dtype)
    parts[0] = parts.sum(axis=0)
    return parts


def _percentiles(histograms: Sums) -> dict[str, Sums]:
    """Return the percentiles of each histogram, NaN of an empty one: linear between the centres of two bins."""
    n_parts, n_bins = histograms.shape
    ends = np.cumsum(histograms, dtype=np.int64)  # over all of them, so that one search finds the bins of all
    counts = histograms.sum(axis=1)
    before = ends[n_bins - 1 :: n_bins] - counts

    def value(rank: Sums) -> Sums:
        bins = np.searchsorted(ends, before + rank.astype(np.int64), side="right") - np.arange(n_parts) * n_bins
        values: Sums = bins / BINS_PER_ONE - 1.0
        return values

    shares = np.array([*PERCENTILES.values()])[:, np.newaxis]
    place = shares / 100 * np.maximum(counts - 1, 0)
    floor = np.floor(place)
    low, high = value(np.stack([floor, np.ceil(place)]))
    found = np.where(counts > 0, low + (high - low) * (place - floor), np.nan)
    return dict(zip(PERCENTILES, found, strict=True))


def _texture(sums: Sums, n_pixels: Sums, n_pairs: Sums) -> tuple[Sums, Sums]:
    """Return contrast and mean step between neighbours by the sums of each part and channel, (P, C, 4)."""
    n, total, squares = np.maximum(n_pixels, 1)[:, np.newaxis], sums[..., 0], sums[..., 1]
    if sums.dtype.kind == "i":  # in Python's integers, as the square of a sum does not fit 64 bits
        n, total, squares = (array.astype(object) for array in (n, total, squares))
        variance = ((n * squares - total * total) / (n * n)).astype(np.float64)
    else:
        variance = (squares - total * total / n) / n
        variance[~(variance > _FLAT * squares / n)] = 0.0
    return np.sqrt(variance.sum(axis=1)), sums[..., 2:].sum(axis=(1, 2)) / np.maximum(n_pairs, 1)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
