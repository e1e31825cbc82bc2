"""The numbers of one frame: how well it matches, whether it is blurred or lit otherwise, and how far it was warped.

docs/scores.md says how to read them. None depends on the number of threads: counts and sums of integers are exact, sums
of floats have a fixed order, and medians and percentiles are selected, not estimated.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.engine import VALIDITY_CODES
from framencc.frames import Picture, Regions, frozen
from framencc.kernels import rating, texture
from framencc.kernels.threads import SMALLEST_CHUNK, default_threads, share_rows
from framencc.spec.scores import ScoresSpec

_DEFAULT_THRESHOLD = float(ScoresSpec.model_fields["threshold"].default)
PERCENTILES = {"median": 50, "p05": 5, "p95": 95}
_PIECES_PER_THREAD = 4
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
        Percentiles 50, 5 and 95 of rho, between two values interpolated linearly as NumPy does.
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
        self._reference = None if reference is None else frozen(reference)
        self._scale = scale
        self._threshold = np.float32(threshold)
        self._threads = threads or default_threads()
        self._names = () if regions is None else tuple(regions.names)
        self._has_regions = regions is not None
        numbers = _part_numbers(shape, regions)
        self._stretches, self._first = _stretches(numbers)
        self._n_parts = len(self._names) + 1
        self._n_pixels = np.bincount(numbers.ravel(), minlength=self._n_parts)
        rows = max(SMALLEST_CHUNK, -(-shape[0] // (self._threads * _PIECES_PER_THREAD)))
        self._pieces = list(pairwise([*range(0, shape[0], rows), shape[0]]))
        self._histograms = np.empty((len(self._pieces), self._n_parts, rating.BINS + 1), np.int32)

    def score(
        self, rho: Picture, validity: Picture, planes: Picture | None = None, field: Picture | None = None
    ) -> FrameScores:
        """Score a frame.

        Parameters
        ----------
        rho
            (H, W) float32 map.
        validity
            (H, W) uint8 codes; 0 is measured.
        planes
            (C, H, W) channels of the (warped) frame, where `validity` is 0; None: neither sharpness nor gain is wanted.
        field
            (H, W, 2) float32 displacements; None without a warp.
        """
        rho, validity = frozen(rho), frozen(validity)
        sums, n_coded = self._count(rho, validity)
        groups = [list(range(self._n_parts)), *([part] for part in range(1, self._n_parts))]
        totals = [[int(value) for value in sums[parts].sum(axis=0)] for parts in groups]
        percentiles = self._percentiles(rho, validity, groups)
        looks = self._compare_textures(planes, validity, groups)
        lengths = self._lengths(field, validity, groups)
        scores = []
        for (n_valid, total, n_below), found, look, length in zip(totals, percentiles, looks, lengths, strict=True):
            mean = total / rating.UNITS_PER_ONE / n_valid if n_valid else None
            below = n_below / n_valid if n_valid else None
            scores.append({"mean": mean, **found, "share_below": below, **look, "warp_magnitude": length})
        whole, *others = scores
        regions = {
            name: RegionScores(
                n_pixels=int(n_pixels), valid_share=total[0] / int(n_pixels) if n_pixels else None, **one
            )
            for name, n_pixels, total, one in zip(self._names, self._n_pixels[1:], totals[1:], others, strict=True)
        }
        shares = tuple(count / rho.size for count in n_coded)
        return FrameScores(
            mean_confidence=whole.pop("mean"),
            valid_share=shares[0],
            code_shares=shares,
            regions=regions if self._has_regions else None,
            **whole,
        )

    def _count(self, rho: Picture, validity: Picture) -> tuple[Sums, list[int]]:
        """Fill the histograms; return the sums of each part (number, total, number below) and the pixels of each code.

        The whole is the sum of its parts, so it is the same with regions and without.
        """
        height = self._shape[0]
        sums = np.zeros((len(self._pieces), self._n_parts, 3), np.int64)
        row_counts = np.empty((height, len(VALIDITY_CODES)), np.int64)
        self._histograms[:] = 0

        def work(first: int, last: int) -> None:
            for piece in range(first, last):
                y0, y1 = self._pieces[piece]
                rating.count_rows(validity, y0, y1, row_counts)
                rating.rate_rows(
                    *(rho, validity, self._stretches, self._first, self._threshold, y0, y1),
                    *(sums[piece], self._histograms[piece]),
                )

        share_rows(work, len(self._pieces), self._threads, smallest=1)
        return sums.sum(axis=0), [int(count) for count in row_counts.sum(axis=0)]

    def _percentiles(
        self, rho: Picture, validity: Picture, groups: Sequence[Sequence[int]]
    ) -> list[dict[str, float | None]]:
        """Select the percentiles of each group of parts."""
        histogram = self._histograms.sum(axis=0, dtype=np.int64)[:, : rating.BINS]
        wanted: dict[tuple[int, int], int] = {}  # a part and a bin: the slot of its pixels
        plans = []
        for parts in groups:
            ends = np.cumsum(histogram[list(parts)].sum(axis=0))
            places = {name: share / 100 * (int(ends[-1]) - 1) for name, share in PERCENTILES.items() if ends[-1]}
            bins = {}
            for place in places.values():
                for rank in (math.floor(place), math.ceil(place)):
                    one = int(np.searchsorted(ends, rank, side="right"))
                    bins[rank] = one, rank - (int(ends[one - 1]) if one else 0)
                    for part in parts:
                        if histogram[part, one]:
                            wanted.setdefault((part, one), len(wanted))
            plans.append((parts, places, bins))
        values = self._collect(rho, validity, wanted)
        found: list[dict[str, float | None]] = []
        for parts, places, bins in plans:
            selected = _select(values, wanted, parts, bins)
            one_group: dict[str, float | None] = dict.fromkeys(PERCENTILES)
            for name, place in places.items():
                low, high = selected[math.floor(place)], selected[math.ceil(place)]
                one_group[name] = low + (high - low) * (place - math.floor(place))
            found.append(one_group)
        return found

    def _collect(self, rho: Picture, validity: Picture, wanted: Mapping[tuple[int, int], int]) -> list[Picture]:
        """Return the pixels of each wanted bin, in no particular order."""
        if not wanted:
            return []
        slots = np.full((self._n_parts, rating.BINS + 1), -1, np.int32)
        parts, bins = (np.array(column) for column in zip(*wanted, strict=True))
        slots[parts, bins] = np.arange(len(wanted), dtype=np.int32)
        ends = np.cumsum(self._histograms[:, parts, bins], axis=1)
        pieces = [np.empty(int(end), np.float32) for end in ends[:, -1]]

        def work(first: int, last: int) -> None:
            for piece in range(first, last):
                places = np.concatenate([[0], ends[piece, :-1]]).astype(np.int64)
                y0, y1 = self._pieces[piece]
                rating.collect_rows(rho, validity, self._stretches, self._first, slots, y0, y1, places, pieces[piece])

        share_rows(work, len(self._pieces), self._threads, smallest=1)
        split = [np.split(values, end[:-1]) for values, end in zip(pieces, ends, strict=True)]
        return [np.concatenate(same) for same in zip(*split, strict=True)]

    def _compare_textures(
        self, planes: Picture | None, validity: Picture, groups: Sequence[Sequence[int]]
    ) -> list[dict[str, float | None]]:
        if planes is None or self._reference is None:
            return [{"sharpness_ratio": None, "gain": None}] * len(groups)
        both = [self._textures(pictures, validity, groups) for pictures in (frozen(planes), self._reference)]
        looks: list[dict[str, float | None]] = []
        for (contrast, step), (own_contrast, own_step) in zip(*both, strict=True):
            ratio = contrast / own_contrast if own_contrast else None
            gain = None if ratio is None or self._scale is None else _finite(ratio * self._scale)
            sharpness = _finite(step / own_step / ratio) if ratio and own_step else None
            looks.append({"sharpness_ratio": sharpness, "gain": gain})
        return looks

    def _textures(
        self, planes: Picture, validity: Picture, groups: Sequence[Sequence[int]]
    ) -> list[tuple[float, float]]:
        """Return the contrast and the mean step between neighbours of each group of parts."""
        n_bands = -(-self._shape[0] // texture.BAND_ROWS)
        zero = np.int64(0) if planes.dtype.kind == "u" else np.float64(0)
        variances, steps = [0.0] * len(groups), [0.0] * len(groups)
        for plane in planes:
            counts = np.empty((n_bands, self._n_parts, 2), np.int64)
            sums = np.empty((n_bands, self._n_parts, 3), zero.dtype)
            arguments = (plane, validity, self._stretches, self._first, zero)
            _share_bands(lambda b0, b1: texture.texture_bands(*arguments, b0, b1, counts, sums), n_bands, self._threads)  # noqa: B023
            for group, parts in enumerate(groups):
                n_pixels, n_pairs = (int(count) for count in counts[:, parts].sum(axis=(0, 1)))
                total, squares, differences = sums[:, parts].sum(axis=0).sum(axis=0).tolist()
                variances[group] += _variance(n_pixels, total, squares)
                steps[group] += differences / n_pairs if n_pairs else 0.0
        return [(math.sqrt(variance), step) for variance, step in zip(variances, steps, strict=True)]

    def _lengths(self, field: Picture | None, validity: Picture, groups: Sequence[Sequence[int]]) -> list[float | None]:
        """Return the mean length of the displacements of each group of parts."""
        if field is None:
            return [None] * len(groups)
        height, width = self._shape
        rows, n_bands = frozen(field).reshape(height, 2 * width), -(-height // texture.BAND_ROWS)
        counts, sums = np.empty((n_bands, self._n_parts), np.int64), np.empty((n_bands, self._n_parts))
        arguments = (rows, validity, self._stretches, self._first)
        _share_bands(
            lambda b0, b1: texture.displacement_bands(*arguments, b0, b1, counts, sums), n_bands, self._threads
        )
        totals, n_known = sums.sum(axis=0), counts.sum(axis=0)
        return [
            float(totals[parts].sum()) / int(n_known[parts].sum()) if n_known[parts].any() else None for parts in groups
        ]


def _share_bands(work: Any, n_bands: int, threads: int) -> None:
    share_rows(work, n_bands, threads, smallest=SMALLEST_CHUNK // texture.BAND_ROWS)


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


def _select(
    values: Sequence[Picture],
    wanted: Mapping[tuple[int, int], int],
    parts: Sequence[int],
    bins: Mapping[int, tuple[int, int]],
) -> dict[int, float]:
    """Return the value of each rank, given its bin and its rank there."""
    selected: dict[int, float] = {}
    for one in {place for place, _ in bins.values()}:
        here = np.concatenate([values[wanted[part, one]] for part in parts if (part, one) in wanted])
        inner = {rank: within for rank, (place, within) in bins.items() if place == one}
        ordered = np.partition(here, sorted(set(inner.values())))
        selected |= {rank: float(ordered[within]) for rank, within in inner.items()}
    return selected


def _variance(n: int, total: float, squares: float) -> float:
    """Return the variance by the sums of values and squares: of integers exact, of floats 0 where it is rounding."""
    if n == 0:
        return 0.0
    if isinstance(total, int):
        return (n * squares - total * total) / (n * n)
    variance = (squares - total * total / n) / n
    return variance if variance > _FLAT * squares / n else 0.0


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
