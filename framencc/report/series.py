"""Columns of numbers as a page takes them: rounded, and thinned where a clip is too long to hold every frame."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.report.runs import Column

# About four bytes a number: with plotly.js, pictures and an embedded preview the page stays below 15 MB.
MOST_NUMBERS = 900_000
_DIGITS = 4


@dataclass(frozen=True)
class Thinning:
    """Which points stand for the frames of a clip.

    Parameters
    ----------
    n_frames
        How many frames there are.
    bin_frames
        1: every frame is a point. Otherwise two points stand for so many frames, the first for the lower and the
        second for the higher end of what the frames hold, or the other way round, as they come in time.
    """

    n_frames: int
    bin_frames: int

    @classmethod
    def fitting(cls, n_frames: int, n_columns: int, most: int = MOST_NUMBERS) -> "Thinning":
        """Choose the finest that keeps all columns below `most` numbers."""
        if n_frames * n_columns <= most:
            return cls(n_frames, 1)
        return cls(n_frames, math.ceil(2 * n_frames * n_columns / most))

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """The frame that each point stands at, by its place among the rows."""
        if self.bin_frames == 1:
            return np.arange(self.n_frames)
        starts = np.arange(0, self.n_frames, self.bin_frames)
        seconds = np.minimum(starts + max(1, self.bin_frames // 2), self.n_frames - 1)
        return np.stack([starts, seconds], axis=1).ravel()

    def thin(self, values: Column) -> Column:
        """Return the value of each point: no minimum and no maximum is lost."""
        if self.bin_frames == 1:
            return values
        n_bins = math.ceil(self.n_frames / self.bin_frames)
        padded = np.full(n_bins * self.bin_frames, np.nan)
        padded[: self.n_frames] = values
        bins = padded.reshape(n_bins, self.bin_frames)
        empty = np.isnan(bins).all(axis=1)
        at_low = np.argmin(np.where(np.isnan(bins), np.inf, bins), axis=1)
        at_high = np.argmax(np.where(np.isnan(bins), -np.inf, bins), axis=1)
        rows = np.arange(n_bins)
        first = bins[rows, np.minimum(at_low, at_high)]
        second = bins[rows, np.maximum(at_low, at_high)]
        points = np.stack([first, second], axis=1)
        points[empty] = np.nan
        return points.ravel()


def pack(values: Column) -> dict[str, Any]:
    """Turn a column into whole numbers and the unit they count in, with None for what was not measured."""
    measured = np.isfinite(values)
    largest = float(np.abs(values[measured]).max()) if measured.any() else 0.0
    # Times of a whole day keep their tenths of milliseconds; beyond that nine digits are kept.
    digits = _DIGITS if largest < 1e5 else 8 - math.floor(math.log10(largest))
    scaled = np.rint(np.where(measured, values, 0.0) * 10.0**digits)
    whole = [int(value) if known else None for value, known in zip(scaled, measured, strict=True)]
    return {"unit": 10.0**-digits, "values": whole}


def pack_all(columns: Mapping[str, Column], thinning: Thinning) -> dict[str, dict[str, Any]]:
    """Pack every column that holds any number."""
    return {name: pack(thinning.thin(values)) for name, values in columns.items() if np.isfinite(values).any()}
