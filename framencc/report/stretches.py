"""Where and when the match breaks: the stretches of a take in which a score leaves what is usual for it."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from framencc.report.runs import Column, Run

WHOLE = "whole frame"
"""What a place is called that is no region."""

_LEAST_DROP = 0.05
_DEVIATIONS = 4.0
_NORMAL = 1.4826  # by this the median absolute deviation becomes a standard deviation, if the values are normal
_BRIDGED = 2  # so few good frames in between do not end a stretch
_RATIO = 1.25  # sharpness or contrast that differs by more from the clip's own is worth a word
_NEIGHBOURS = 25  # stretches of several regions often have one cause, and look alike
_FAILED, _EMPTY = 1.0, 2.0
_LEAST_SHARE = 0.5  # of what is usual: less is worth a word, however much a take varies
_MOST_EMPTY = 3  # pictures of frames in which nothing was measured: they all look alike


@dataclass(frozen=True)
class Stretch:
    """Consecutive frames in which the match is bad.

    Parameters
    ----------
    where
        The region, or `WHOLE`.
    first, last, worst
        Places of frames among the rows; `last` is part of it.
    bad
        Places of the frames that make it one; a few good ones may lie between them.
    severity
        How far the worst frame lies below the limit of what is usual; 1 more where no warp was found, and 2 more where
        nothing was measured.
    reasons
        What was seen, for people, the most telling first.
    """

    where: str
    first: int
    last: int
    worst: int
    bad: tuple[int, ...]
    severity: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Watched:
    """A score that is watched for falling below its usual values.

    Parameters
    ----------
    label
        What it is called.
    values
        One for each frame.
    threshold
        What is below it has fallen, however much the values vary, if they usually lie above it. Where they do not, or
        there is no such value, half of the usual value takes its place.
    """

    label: str
    values: Column
    threshold: float = math.inf

    @property
    def limit(self) -> float:
        """The least value that counts as usual; NaN where nothing was measured in any frame.

        It lies four robust standard deviations below the median, or at the threshold where that is higher, and in any
        case at least 0.05 below the median.
        """
        measured = self.values[np.isfinite(self.values)]
        if not measured.size:
            return float("nan")
        middle = float(np.median(measured))
        spread = _NORMAL * float(np.median(np.abs(measured - middle)))
        floor = self.threshold if middle > self.threshold else _LEAST_SHARE * middle
        return min(max(middle - _DEVIATIONS * spread, floor), middle - _LEAST_DROP)

    def drops(self) -> Column:
        """Return how far each frame lies below the limit; 0 where it does not, or nothing was measured."""
        return np.nan_to_num(np.maximum(self.limit - self.values, 0.0), nan=0.0)


def find_stretches(run: Run) -> list[Stretch]:
    """Find where the match breaks, worst first.

    The whole frame is watched by its mean confidence and its measured share, a region by the same, and a region in
    which nothing is ever measured by nothing.
    """
    if run.n_frames == 0:
        return []
    found = list(_stretches_of(run, WHOLE, run.scores))
    for name, region in run.regions.items():
        if np.isfinite(region.scores["mean_confidence"]).any():
            found += _stretches_of(run, name, region.scores)
    return sorted(found, key=lambda stretch: (-stretch.severity, stretch.first))


def broken(run: Run, stretches: Sequence[Stretch]) -> list[tuple[int, int]]:
    """Return first and last place of everything that is part of a stretch, in order, without overlaps."""
    bad = np.zeros(run.n_frames, np.bool_)
    for stretch in stretches:
        bad[stretch.first : stretch.last + 1] = True
    return list(_runs_of(bad, 0))


def worst_places(run: Run, stretches: Sequence[Stretch], most: int) -> list[int]:
    """Choose frames to look at: the worst of each stretch, and where those are few, the lowest of the rest.

    Parameters
    ----------
    run
        The run.
    stretches
        What `find_stretches` has found.
    most
        How many frames are wanted at most.

    Returns
    -------
    list of int
        Places among the rows, worst first.
    """
    confidence = run.scores["mean_confidence"]
    empty = ~np.isfinite(confidence)
    lowest = np.argsort(np.where(empty, np.inf, confidence), kind="stable")
    of_stretches = [stretch.worst for stretch in stretches]
    apart = min(_NEIGHBOURS, run.n_frames // (4 * most))
    chosen: list[int] = []
    for candidates, wanted, distance in (
        ([place for place in of_stretches if empty[place]], min(_MOST_EMPTY, most), apart),
        ([place for place in of_stretches if not empty[place]], most, apart),
        ([place for place in lowest.tolist() if not empty[place]], most // 2, run.n_frames // (2 * most)),
    ):
        for place in candidates:
            if len(chosen) >= wanted:
                break
            if all(abs(place - other) >= max(2, distance) for other in chosen):
                chosen.append(place)
    return chosen


def _stretches_of(run: Run, where: str, scores: Mapping[str, Column]) -> Iterator[Stretch]:
    confidence = scores["mean_confidence"]
    measured = np.isfinite(confidence)
    watched = [
        Watched("confidence", confidence, run.threshold),
        Watched("measured share", np.where(measured, scores["valid_share"], np.nan)),
    ]
    drops = np.stack([one.drops() for one in watched])
    damaged, failed = (_marked(run, places) for places in (run.damaged, run.failures))
    empty = ~measured & ~damaged
    severity = drops.max(axis=0) + _EMPTY * empty
    if where == WHOLE:  # what befalls every region is said once
        severity += _FAILED * failed + _EMPTY * damaged
    for first, last in _runs_of(severity > 0, _BRIDGED):
        part = slice(first, last + 1)
        worst = first + int(np.argmax(severity[part]))
        reasons = [
            *(_damages(run, first, last) if where == WHOLE else ()),
            *(_count(int(failed[part].sum()), "no warp was found") if where == WHOLE else ()),
            *_count(int(empty[part].sum()), "nothing was measured"),
            *_falls(watched, drops, part),
            *_ratios(scores, worst),
        ]
        bad = tuple((first + np.flatnonzero(severity[part])).tolist())
        yield Stretch(where, first, last, worst, bad, float(severity[worst]), tuple(reasons))


def _marked(run: Run, places: Collection[int]) -> npt.NDArray[np.bool_]:
    marked = np.zeros(run.n_frames, np.bool_)
    marked[list(places)] = True
    return marked


def _runs_of(bad: npt.NDArray[np.bool_], bridged: int) -> Iterator[tuple[int, int]]:
    """Yield first and last place of everything that is bad, joined where little lies in between."""
    places = np.flatnonzero(bad)
    if not places.size:
        return
    breaks = np.flatnonzero(np.diff(places) > bridged + 1)
    for first, last in zip([0, *(breaks + 1)], [*breaks, len(places) - 1], strict=True):
        yield int(places[first]), int(places[last])


def _damages(run: Run, first: int, last: int) -> Iterator[str]:
    """Say how many frames are damaged, and why the first of them is."""
    found = [run.damaged[place] for place in range(first, last + 1) if place in run.damaged]
    for reason in found[:1]:
        yield f"{next(_count(len(found), 'the video is damaged'))}: {reason}"


def _count(n_frames: int, what: str) -> Iterator[str]:
    if n_frames:
        yield f"{what} in {n_frames} frame{'s' if n_frames > 1 else ''}"


def _falls(watched: Sequence[Watched], drops: npt.NDArray[np.float64], part: slice) -> Iterator[str]:
    for number in sorted(range(len(watched)), key=lambda number: -float(drops[number, part].max())):
        if drops[number, part].max() > 0:
            one = watched[number]
            least, usual = float(np.nanmin(one.values[part])), float(np.nanmedian(one.values))
            yield f"{one.label} falls to {least:.2f} (usually {usual:.2f})"


def _ratios(scores: Mapping[str, Column], worst: int) -> Iterator[str]:
    """Say what the worst frame's sharpness and contrast, against the clip's own, suggest."""
    for name, fallen, risen in (
        ("sharpness_ratio", "blurred: sharpness", "sharper than usual: sharpness"),
        ("gain", "light or exposure: contrast", "light or exposure: contrast"),
    ):
        values = scores[name]
        measured = values[np.isfinite(values)]
        usual = float(np.median(measured)) if measured.size else 0.0
        if usual > 0 and np.isfinite(values[worst]) and not usual / _RATIO <= values[worst] <= usual * _RATIO:
            yield f"{fallen if values[worst] < usual else risen} {values[worst]:.2f} (usually {usual:.2f})"
