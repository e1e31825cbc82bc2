"""Where and when the match breaks: the stretches of a take in which a score leaves what is usual for it."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
_FEW = 0.1  # of a take: so few frames that are not bad do not say what is usual
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


class Watched:
    """A score that is watched for falling below its usual values.

    Parameters
    ----------
    label
        What it is called.
    values
        One for each frame; NaN where nothing was measured.
    threshold
        What is below it is bad in any case, unless nearly all of the take is. None for scores without such a value:
        half of what the best tenth of the frames reaches takes its place.

    Attributes
    ----------
    weak
        Whether nearly all frames are bad, so that only those that are worse still stand out.
    usual
        Median of the frames that are not bad; of all where the take is weak. NaN where nothing was measured.
    limit
        The least value that counts as usual: four robust standard deviations below the median, but at least 0.05 below
        it; or the threshold where that is higher.
    """

    def __init__(self, label: str, values: Column, threshold: float | None = None) -> None:
        self.label, self.values = label, values
        measured = values[np.isfinite(values)]
        self.weak, self.usual, self.limit = False, math.nan, math.nan
        if not measured.size:
            return
        if threshold is None:
            threshold = _LEAST_SHARE * float(np.quantile(measured, 1 - _FEW))
        good = measured[measured >= threshold]
        self.weak = good.size < _FEW * measured.size
        if self.weak:
            good, threshold = measured, _LEAST_SHARE * float(np.median(measured))
        self.usual = float(np.median(good))
        spread = _NORMAL * float(np.median(np.abs(good - self.usual)))
        self.limit = max(min(self.usual - _DEVIATIONS * spread, self.usual - _LEAST_DROP), threshold)

    def drops(self) -> Column:
        """Return how far each frame lies below the limit; 0 where it does not, or nothing was measured."""
        return np.nan_to_num(np.maximum(self.limit - self.values, 0.0), nan=0.0)


def find_stretches(run: Run) -> list[Stretch]:
    """Find where the match breaks, worst first, and last what is only damaged video.

    The whole frame is watched by its mean confidence and its measured share, a region by the same, and a region in
    which nothing is ever measured by nothing.
    """
    if run.n_frames == 0:
        return []
    found = list(_stretches_of(run, WHOLE, run.scores))
    for name, region in run.regions.items():
        if np.isfinite(region.scores["mean_confidence"]).any():
            found += _stretches_of(run, name, region.scores)
    return sorted(found, key=lambda one: (set(one.bad) <= run.damaged.keys(), -one.severity, one.first))


def weak_places(run: Run) -> list[tuple[str, float]]:
    """Name what is bad from beginning to end, of which nothing that is usual for the take tells, with its mean."""
    places = [(WHOLE, run.scores), *((name, region.scores) for name, region in run.regions.items())]
    confidences = [(where, scores["mean_confidence"]) for where, scores in places]
    return [
        (where, float(np.nanmean(values)))
        for where, values in confidences
        if Watched("confidence", values, run.threshold).weak
    ]


def broken(run: Run, stretches: Sequence[Stretch]) -> list[tuple[int, int]]:
    """Return first and last place of all that is part of a stretch and no damage, in order, without overlaps."""
    bad = np.zeros(run.n_frames, np.bool_)
    for stretch in stretches:
        bad[stretch.first : stretch.last + 1] = True
    bad &= ~_marked(run, run.damaged)
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
    damaged, failed, invalid = (_marked(run, places) for places in (run.damaged, run.failures, run.invalid))
    left_out = damaged | invalid
    empty = ~measured & ~left_out
    why_empty = {place: _why_empty(run, place, where) for place in np.flatnonzero(empty).tolist()}
    severity = drops.max(axis=0) + _EMPTY * empty
    if where == WHOLE:  # what befalls every region is said once
        severity += _FAILED * failed + _EMPTY * left_out
    for first, last in _runs_of(severity > 0, _BRIDGED):
        part = slice(first, last + 1)
        worst = first + int(np.argmax(severity[part]))
        reasons = [
            *(_reported("the video is damaged", run.damaged, first, last) if where == WHOLE else ()),
            *(_reported("no warp was found", run.failures, first, last) if where == WHOLE else ()),
            *_reported("nothing was measured", why_empty, first, last),
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


def _reported(what: str, reasons: Mapping[int, str], first: int, last: int) -> Iterator[str]:
    """Say in how many frames something was the matter, and what was given most often as the reason."""
    found = [reasons[place] for place in range(first, last + 1) if place in reasons]
    if found:
        why = commonest(found)
        yield f"{what} in {len(found)} frame{'s' if len(found) > 1 else ''}{': ' if why else ''}{why}"


def _why_empty(run: Run, place: int, where: str) -> str:
    """Name the validity code that most pixels of a frame have; none for a region, whose codes are not recorded."""
    names, shares = run.head.get("validity_codes"), run.code_shares[place]
    if where != WHOLE or not isinstance(names, list) or not np.isfinite(shares).any():
        return ""
    return str(names[int(np.nanargmax(shares))])


def commonest(reasons: Iterable[str]) -> str:
    """Return what is said most often, of equals what is said first."""
    return Counter(reasons).most_common(1)[0][0]


def _falls(watched: Sequence[Watched], drops: npt.NDArray[np.float64], part: slice) -> Iterator[str]:
    for number in sorted(range(len(watched)), key=lambda number: -float(drops[number, part].max())):
        if drops[number, part].max() > 0:
            one = watched[number]
            yield f"{one.label} falls to {float(np.nanmin(one.values[part])):.2f} (otherwise {one.usual:.2f})"


def _ratios(scores: Mapping[str, Column], worst: int) -> Iterator[str]:
    """Say how the worst frame's sharpness and contrast differ from the clip's own.

    Light alone changes contrast, but not confidence. Where both change, what is seen is another.
    """
    for name, fallen, risen in (
        ("sharpness_ratio", "blurred: sharpness", "sharper than usual: sharpness"),
        ("gain", "something else or a shadow: contrast", "something else or a reflection: contrast"),
    ):
        values = scores[name]
        measured = values[np.isfinite(values)]
        usual = float(np.median(measured)) if measured.size else 0.0
        if usual > 0 and np.isfinite(values[worst]) and not usual / _RATIO <= values[worst] <= usual * _RATIO:
            yield f"{fallen if values[worst] < usual else risen} {values[worst]:.2f} (usually {usual:.2f})"
