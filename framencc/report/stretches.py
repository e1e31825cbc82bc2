"""Where and when the match breaks: the stretches of a take in which a score leaves what is usual for it."""

from collections.abc import Iterator, Mapping, Sequence
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


@dataclass(frozen=True)
class Stretch:
    """Consecutive frames in which the match is bad.

    Parameters
    ----------
    where
        The region, or `WHOLE`.
    first, last, worst
        Places of frames among the rows; `last` is part of it.
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
    """

    label: str
    values: Column

    @property
    def limit(self) -> float:
        """The least value that counts as usual; NaN where nothing was measured in any frame.

        It lies four robust standard deviations below the median, and at least 0.05.
        """
        measured = self.values[np.isfinite(self.values)]
        if not measured.size:
            return float("nan")
        middle = float(np.median(measured))
        spread = _NORMAL * float(np.median(np.abs(measured - middle)))
        return middle - max(_LEAST_DROP, _DEVIATIONS * spread)

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
    lowest = np.argsort(np.where(np.isfinite(confidence), confidence, -1.0), kind="stable")
    chosen: list[int] = []
    for candidates, wanted, apart in (
        ([stretch.worst for stretch in stretches], most, min(_NEIGHBOURS, run.n_frames // (4 * most))),
        (lowest.tolist(), most // 2, run.n_frames // (2 * most)),
    ):
        for place in candidates:
            if len(chosen) >= wanted:
                break
            if all(abs(place - other) >= max(2, apart) for other in chosen):
                chosen.append(place)
    return chosen


def _stretches_of(run: Run, where: str, scores: Mapping[str, Column]) -> Iterator[Stretch]:
    watched = [Watched("confidence", scores["mean_confidence"]), Watched("measured share", scores["valid_share"])]
    drops = np.stack([one.drops() for one in watched])
    severity = drops.max(axis=0) + _EMPTY * ~np.isfinite(scores["mean_confidence"])
    failed = np.zeros(run.n_frames, np.bool_)
    if where == WHOLE:
        failed[list(run.failures)] = True
        severity += _FAILED * failed
    for first, last in _runs_of(severity > 0, _BRIDGED):
        part = slice(first, last + 1)
        worst = first + int(np.argmax(severity[part]))
        n_empty = int((~np.isfinite(scores["mean_confidence"][part])).sum())
        reasons = [
            *_count(int(failed[part].sum()), "no warp was found"),
            *_count(n_empty, "nothing was measured"),
            *(_falls(watched, drops, part) if n_empty <= last - first else ()),
            *_ratios(scores, worst),
        ]
        yield Stretch(where, first, last, worst, float(severity[worst]), tuple(reasons))


def _runs_of(bad: npt.NDArray[np.bool_], bridged: int) -> Iterator[tuple[int, int]]:
    """Yield first and last place of everything that is bad, joined where little lies in between."""
    places = np.flatnonzero(bad)
    if not places.size:
        return
    breaks = np.flatnonzero(np.diff(places) > bridged + 1)
    for first, last in zip([0, *(breaks + 1)], [*breaks, len(places) - 1], strict=True):
        yield int(places[first]), int(places[last])


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
