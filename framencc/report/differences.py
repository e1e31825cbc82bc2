"""How the maps of two runs differ, pixel by pixel and frame by frame."""

import contextlib
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from framencc.errors import FramenccError, SourceError
from framencc.frames import Picture
from framencc.report.drawing import Confidence, Mask, Panel, confidence_gray, data_uri, decode, join
from framencc.report.measured import used_pixels
from framencc.report.overview import MOST_PANELS
from framencc.report.pictures import (
    ArrayPictures,
    NumberedPictures,
    Pictures,
    open_output,
    reading_output,
    require_genuine,
)
from framencc.report.runs import Column, Run, number
from framencc.sources import VideoSource
from framencc.spec import VIDEO_OUTPUT_SUFFIXES

_BINS = 40
_FLOAT_ERROR = 2.0**-22  # that codes turned back into float32 are off at most
_STRONG = 0.5  # a difference of so much has the full colour
# Colours for people of any colour vision: orange where the second run is higher, blue where the first is.
_HIGHER, _LOWER, _EQUAL = np.array([230, 120, 0]), np.array([0, 105, 200]), np.array([245, 245, 245])
_UNKNOWN = np.array([150, 150, 150])


class Differences(NamedTuple):
    """What comparing all maps has found.

    Parameters
    ----------
    mean_absolute
        Mean of |second - first| over the pixels of each frame that both runs measured; NaN where there is none.
    counts
        Pixels of all frames by |second - first|, in equal bins from 0 to 1.
    panels
        The frames that differ most, most first.
    certain
        Whether it was known of every pixel if it was measured. Where it was not, pixels count as what they hold.
    problems
        What could not be read, one line each.
    """

    mean_absolute: Column
    counts: list[int]
    panels: list[Panel]
    certain: bool
    problems: list[str]


class _Map(NamedTuple):
    confidence: Confidence
    used: Mask
    certain: bool


def compare_maps(first: Run, second: Run, *, progress: bool = False) -> Differences:
    """Read all maps of both runs side by side; only one frame of each is held at a time.

    What is compared are confidences, max(rho, 0), as not every encoding holds more, of pixels that both measured.

    Raises
    ------
    SourceError
        When they cannot be read.
    ValueError
        When they have different sizes or numbers.
    """
    mean_absolute = np.full(first.n_frames, np.nan)
    counts = np.zeros(_BINS, np.int64)
    part_frames = max(1, first.n_frames // (2 * MOST_PANELS))
    most: dict[int, tuple[float, Panel]] = {}  # of each part of the clip, as neighbours differ alike
    certain, problems, rounding = True, list[str](), _rounding(first, second)
    with contextlib.ExitStack() as cleanup:
        both = zip(*(_maps(run, cleanup, problems) for run in (first, second)), strict=True)
        for place, (ours, theirs) in enumerate(_shown(both, first.n_frames, progress=progress)):
            shapes = ours.confidence.shape, theirs.confidence.shape
            if shapes[0] != shapes[1] or place >= first.n_frames:
                raise ValueError(f"they are {shapes[0]} and {shapes[1]}, map {place} of {first.n_frames} frames")
            difference = theirs.confidence - ours.confidence
            difference[np.abs(difference) <= rounding] = 0
            difference[~(ours.used & theirs.used)] = np.nan
            certain &= ours.certain and theirs.certain
            size = np.abs(difference[np.isfinite(difference)])
            if not size.size:
                continue
            mean = mean_absolute[place] = float(size.mean(dtype=np.float64))
            counts += np.histogram(np.minimum(size, 1), _BINS, (0, 1))[0]
            part = place // part_frames
            if mean > 0 and (part not in most or mean > most[part][0]):
                most[part] = mean, _draw(place, ours.confidence, theirs.confidence, difference)
    return Differences(mean_absolute, counts.tolist(), _apart(most.values(), part_frames), certain, problems)


def _rounding(first: Run, second: Run) -> float:
    """Return by how much the same map differs when two runs have written it with different encodings."""
    encodings = [run.section("encoding") for run in (first, second)]
    if encodings[0] == encodings[1]:
        return 0.0
    maxima = [
        number(one.get("maximum"), math.inf) * (0.5 if one.get("encoding") == "signed" else 1) for one in encodings
    ]
    return sum(0.5 / maximum for maximum in maxima) + _FLOAT_ERROR


def _apart(candidates: Iterable[tuple[float, Panel]], part_frames: int) -> list[Panel]:
    """Choose the panels that differ most and are no neighbours, most first."""
    chosen: list[Panel] = []
    for _, panel in sorted(candidates, key=lambda one: (-one[0], one[1].place)):
        if len(chosen) < MOST_PANELS and all(abs(panel.place - other.place) > part_frames // 2 for other in chosen):
            chosen.append(panel)
    return chosen


def difference_colours(difference: Confidence) -> npt.NDArray[np.uint8]:
    """Colour differences: white none, orange the second is higher, blue the first is, gray (NaN) not known."""
    strength = np.clip(np.nan_to_num(difference) / _STRONG, -1, 1)[..., np.newaxis]
    higher, lower = np.maximum(strength, 0), np.maximum(-strength, 0)
    coloured = _EQUAL + higher * (_HIGHER - _EQUAL) + lower * (_LOWER - _EQUAL)
    codes: npt.NDArray[np.uint8] = np.rint(coloured).astype(np.uint8)
    codes[np.isnan(difference)] = _UNKNOWN
    return codes


def _maps(run: Run, cleanup: contextlib.ExitStack, problems: list[str]) -> Iterator[_Map]:
    """Yield the confidences of every frame of a run, and which of them count."""
    path = run.output("output")
    if path is None:
        raise SourceError(f"the sidecar of {run.name!r} names no maps")
    codes = _validity(run, cleanup, problems)
    for place, data in enumerate(_stored(run, "output", path, cleanup)):
        rho = decode(data, run.section("encoding"))
        used, certain = used_pixels(run, place, rho, next(codes, None))
        yield _Map(np.maximum(rho, 0), used, certain)


def _validity(run: Run, cleanup: contextlib.ExitStack, problems: list[str]) -> Iterator[Picture]:
    """Yield the validity codes of every frame; of none where they were not kept, up to where they cannot be read."""
    path = run.output("validity")
    try:
        yield from () if path is None else _stored(run, "validity", path, cleanup)
    except (FramenccError, OSError, ValueError) as error:
        problems.append(str(error))


def _stored(run: Run, name: str, path: Path, cleanup: contextlib.ExitStack) -> Iterator[Picture]:
    with reading_output(path):
        for place, picture in enumerate(_read(run, path, cleanup)):
            if place < run.n_frames:
                require_genuine(run, name, place, picture)
            yield picture


def _read(run: Run, path: Path, cleanup: contextlib.ExitStack) -> Iterator[Picture]:
    if path.suffix.lower() in VIDEO_OUTPUT_SUFFIXES:
        source = cleanup.enter_context(VideoSource(str(path)))
        yield from (frame.data for frame in source.frames())
        return
    pictures: Pictures = open_output(path)
    assert isinstance(pictures, ArrayPictures | NumberedPictures)
    for place in range(run.n_frames):
        yield pictures.take(place, int(run.index[place]), float(run.pts_seconds[place]))


def _shown(maps: Iterable[Any], n_frames: int, *, progress: bool) -> Iterable[Any]:
    if not (progress and sys.stderr is not None and sys.stderr.isatty()):
        return maps
    from tqdm import tqdm  # noqa: PLC0415  (wanted on terminals only)

    bar: Iterable[Any] = tqdm(maps, total=n_frames, desc="comparing", unit="frame", file=sys.stderr, dynamic_ncols=True)
    return bar


def _draw(place: int, ours: Confidence, theirs: Confidence, difference: Confidence) -> Panel:
    images = [Image.fromarray(confidence_gray(ours)), Image.fromarray(confidence_gray(theirs))]
    image = join([*images, Image.fromarray(difference_colours(difference))])
    return Panel(place, data_uri(image), *image.size, ("confidence of A", "confidence of B", "B - A"))
