"""What adds up over the frames of a run, and which of them is the worst."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from framencc.engine import VALIDITY_CODES


def _deviation(ratio: float) -> float:
    """Say how far a ratio is from 1; twice is as far as half."""
    return abs(math.log(ratio)) if ratio > 0 else math.inf


def _lack(value: float) -> float:
    return -value


# How bad a value of each score is.
BADNESS: dict[str, Callable[[float], float]] = {
    "mean_confidence": _lack,
    "median": _lack,
    "p05": _lack,
    "p95": _lack,
    "valid_share": _lack,
    "share_below": float,
    "sharpness_ratio": _deviation,
    "gain": _deviation,
    "warp_magnitude": float,
}
_NAME_IN_REGIONS = {"mean_confidence": "mean"}


@dataclass
class _Score:
    """One score over the frames that have it."""

    n_frames: int = 0
    total: float = 0.0
    worst: dict[str, Any] | None = None
    _badness: float = -math.inf

    def add(self, row: Mapping[str, Any], value: float, badness: float) -> None:
        self.n_frames += 1
        self.total += value
        if self.worst is None or badness > self._badness:  # of equal ones the first
            self._badness = badness
            self.worst = {"index": row["index"], "pts_seconds": row["pts_seconds"], "value": value}

    @property
    def mean(self) -> float | None:
        return self.total / self.n_frames if self.n_frames else None


@dataclass
class _Region:
    """The scores of one region over the frames, and in how many of them its mean is below the threshold."""

    scores: dict[str, _Score] = field(default_factory=lambda: {name: _Score() for name in BADNESS})
    n_below: int = 0


@dataclass
class Tally:
    """What adds up over the frames.

    Parameters
    ----------
    threshold
        Frames whose mean confidence is below it are counted.
    """

    threshold: float
    n_frames: int = 0
    n_failed_warps: int = 0
    n_damaged: int = 0
    n_below: int = 0
    n_unmeasured: int = 0
    compute_seconds: float = 0.0
    warp_seconds: float = 0.0
    last_confidence: float | None = None
    _scores: dict[str, _Score] = field(default_factory=lambda: {name: _Score() for name in BADNESS})
    _regions: dict[str, _Region] = field(default_factory=dict)
    _shares: tuple[float, ...] = (0.0,) * len(VALIDITY_CODES)
    _unmeasured_shares: tuple[float, ...] = (0.0,) * len(VALIDITY_CODES)
    _first_unmeasured: dict[str, Any] | None = None

    def add(self, row: Mapping[str, Any], seconds: float = 0.0) -> None:
        """Add what the sidecar says of the next frame, and the time that it took."""
        self.n_frames += 1
        self.compute_seconds += seconds
        self._shares = _added(self._shares, row["code_shares"])
        self.last_confidence = confidence = row["mean_confidence"]
        if confidence is None:
            self.n_unmeasured += 1
            self._unmeasured_shares = _added(self._unmeasured_shares, row["code_shares"])
            if self._first_unmeasured is None:
                self._first_unmeasured = {"index": row["index"], "pts_seconds": row["pts_seconds"]}
        self.n_below += confidence is not None and confidence < self.threshold
        self.n_damaged += "damaged" in row
        if "warp" in row and row["warp"]["status"] != "estimated":
            self.n_failed_warps += 1
        for name, badness in BADNESS.items():
            if row[name] is not None:
                self._scores[name].add(row, row[name], badness(row[name]))
        for region, scores in row.get("regions", {}).items():
            kept = self._regions.setdefault(region, _Region())
            kept.n_below += scores["mean"] is not None and scores["mean"] < self.threshold
            for name, badness in BADNESS.items():
                value = scores[_NAME_IN_REGIONS.get(name, name)]
                if value is not None:
                    kept.scores[name].add(row, value, badness(value))

    @property
    def mean_confidence(self) -> float | None:
        """Mean of the frames' mean confidence, over those that have one; None where none has."""
        return self._scores["mean_confidence"].mean

    @property
    def lowest(self) -> dict[str, Any] | None:
        """The frame of the lowest mean confidence: its index, pts_seconds and value; None where none has one."""
        return self._scores["mean_confidence"].worst

    @property
    def code_shares(self) -> tuple[float, ...]:
        """Share of all pixels so far that have each validity code."""
        return tuple(total / max(1, self.n_frames) for total in self._shares)

    @property
    def unmeasured(self) -> dict[str, Any] | None:
        """How many frames hold no measurement, the first of them, and what most of their pixels have as the reason."""
        if self._first_unmeasured is None:
            return None
        most = max(range(len(VALIDITY_CODES)), key=self._unmeasured_shares.__getitem__)
        return {"n_frames": self.n_unmeasured, "first": self._first_unmeasured, "reason": VALIDITY_CODES[most]}

    def summary(self) -> dict[str, Any]:
        """Return what the sidecar says of all frames together: of each score its mean and the worst frame."""
        return {
            "n_frames": self.n_frames,
            "mean_confidence": self.mean_confidence,
            "code_shares": self.code_shares,
            "failed_warps": self.n_failed_warps,
            "damaged_frames": self.n_damaged,
            "unmeasured_frames": self.unmeasured,
            "threshold": self.threshold,
            "frames_below_threshold": self.n_below,
            "scores": {name: {"mean": score.mean, "worst": score.worst} for name, score in self._scores.items()},
            "regions": {
                region: {
                    _NAME_IN_REGIONS.get(name, name): {"mean": score.mean, "worst": score.worst}
                    for name, score in kept.scores.items()
                }
                | {"frames_below_threshold": kept.n_below}
                for region, kept in self._regions.items()
            }
            or None,
        }


def _added(totals: Iterable[float], values: Iterable[float]) -> tuple[float, ...]:
    return tuple(total + value for total, value in zip(totals, values, strict=True))


def worst_region(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """Find the region that has the lowest mean confidence of all.

    Parameters
    ----------
    summary
        As of `Tally.summary`, also of a sidecar.

    Returns
    -------
    dict or None
        Its ``name``, the frame's ``index`` and ``pts_seconds``, the ``value``, and ``n_below``, in how many frames its
        mean is below the threshold; None where no region was measured.
    """
    regions = [
        # A sidecar may be older than the number of frames in it.
        {"name": name, **scores["mean"]["worst"], "n_below": scores.get("frames_below_threshold", 0)}
        for name, scores in (summary["regions"] or {}).items()
        if scores["mean"]["worst"] is not None
    ]
    return min(regions, key=lambda region: float(region["value"]), default=None)
