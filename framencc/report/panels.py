"""The worst frames as small pictures: static reference, warped frame and confidence side by side."""

import base64
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from framencc.errors import FramenccError
from framencc.frames import Picture
from framencc.report.pictures import Pictures, open_input, open_output
from framencc.report.runs import Run, locate_input, locate_reference, number, section
from framencc.sources import read_picture

CELL_WIDTH = 300
"""Width of each of the pictures in a panel, in pixels."""

_GAP = 6
_QUALITY = 82
_BINS = 40
_SAMPLED = 24

Gray = npt.NDArray[np.uint8]
Confidence = npt.NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True)
class Panel:
    """A frame as a picture.

    Parameters
    ----------
    place
        The frame's place among the rows.
    uri
        The picture, as a data URI.
    width, height
        Its size in pixels.
    labels
        What it shows, from left to right.
    """

    place: int
    uri: str
    width: int
    height: int
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """What frames that are spread evenly over a clip have in common.

    Parameters
    ----------
    counts
        Their pixels by confidence, in equal bins from 0 to 1; what is below 0 counts as 0.
    n_sampled
        How many frames were looked at.
    only_measured
        Whether pixels without a measurement were left out, which takes a validity output.
    panel
        Static reference, mean and lowest confidence of every pixel.
    """

    counts: list[int]
    n_sampled: int
    only_measured: bool
    panel: Panel


class Gallery:
    """Draws panels of a run from what is left of its files; what is gone is left out, and said so.

    Parameters
    ----------
    run
        The run.

    Attributes
    ----------
    problems
        Why something cannot be shown, one line each.
    """

    def __init__(self, run: Run) -> None:
        self.problems: list[str] = []
        self._run = run
        self._maps = self._try(lambda: _output(run, "output"))
        self._validity = self._try(lambda: _output(run, "validity"))
        self._frames = self._open_frames()
        self._frame_label, self._frame_scale = "frame", _full_scale(run)
        warped = self._try(lambda: _output(run, "warped"))
        if warped is not None:
            self._frames, self._frame_label = warped, "warped frame"
            self._frame_scale = None if self._frame_scale is None else self._frame_scale * self._gain()
        elif section(run.section("spec"), "warp").get("method", "none") != "none":
            self._frame_label = "frame, not warped"
            self.problems.append("the warped frames were not kept (--warped keeps them), so frames are shown unwarped")
        self._static = self._try(self._read_static)

    def draw(self, place: int) -> Panel | None:
        """Draw one frame; None where nothing of it is left."""
        cells: list[tuple[str, Gray]] = []
        if self._static is not None:
            cells.append(("static reference", self._static))
        where = self._where(place)
        if self._frames is not None:
            frames = self._frames
            data = self._try(lambda: frames.take(*where))
            if data is not None:
                cells.append((self._frame_label, to_gray(data, self._frame_scale)))
        if (rho := self.confidence(place)) is not None:
            cells.append(("confidence", confidence_gray(rho)))
        return _panel(place, cells) if cells else None

    def confidence(self, place: int) -> Confidence | None:
        """Return the map of one frame as it is stored, in [-1, 1]; None where it is gone."""
        maps = self._maps
        if maps is None:
            return None
        where = self._where(place)
        data = self._try(lambda: maps.take(*where))
        return None if data is None else decode(data, self._run)

    def survey(self) -> Survey | None:
        """Look at frames that are spread evenly over the clip; None where there are no maps to look at."""
        n_frames = self._run.n_frames
        places = sorted({round(place) for place in np.linspace(0, n_frames - 1, min(_SAMPLED, n_frames))})
        counts, n_sampled = np.zeros(_BINS, np.int64), 0
        for place in places:
            found = self._measured(place)
            if found is None:
                break
            rho, used = found
            if n_sampled == 0:
                total, n_used, least = np.zeros(rho.shape), np.zeros(rho.shape, np.int64), np.full_like(rho, np.inf)
            counts += np.histogram(np.clip(rho[used], 0, 1), _BINS, (0, 1))[0]
            total += np.where(used, rho, 0)
            n_used += used
            np.minimum(least, rho, out=least, where=used)
            n_sampled += 1
        if not n_sampled:
            return None
        # Where nothing was measured both are black, like every map.
        mean = np.where(n_used > 0, total / np.maximum(n_used, 1), 0).astype(np.float32)
        cells = [] if self._static is None else [("static reference", self._static)]
        cells += [("mean confidence", confidence_gray(mean))]
        cells += [("lowest confidence", confidence_gray(np.where(n_used > 0, least, np.float32(0))))]
        return Survey(counts.tolist(), n_sampled, self._validity is not None, _panel(0, cells))

    def _measured(self, place: int) -> tuple[Confidence, npt.NDArray[np.bool_]] | None:
        """Return the map of one frame and where it holds a measurement, as far as that is known."""
        rho = self.confidence(place)
        if rho is None:
            return None
        used = np.isfinite(rho)
        if self._validity is not None:
            validity, where = self._validity, self._where(place)
            codes = self._try(lambda: validity.take(*where))
            if codes is None or codes.shape != rho.shape:
                return None
            used &= codes == 0
        return rho, used

    def _where(self, place: int) -> tuple[int, int, float]:
        return place, int(self._run.index[place]), float(self._run.pts_seconds[place])

    def _gain(self) -> float:
        return number(self._run.head.get("warp_gain"), 1.0) or 1.0

    def _open_frames(self) -> Pictures | None:
        path, problem = locate_input(self._run)
        if path is None:
            self.problems.append(str(problem))
            return None
        return self._try(lambda: open_input(path))

    def _read_static(self) -> Gray | None:
        recorded = self._run.section("spec").get("reference")
        if not isinstance(recorded, int):
            path, problem = locate_reference(self._run)
            if path is None:
                self.problems.append(str(problem))
                return None
            picture = read_picture(path)
            bits = number(self._run.section("reference").get("bits"), 8.0 * picture.dtype.itemsize)
            return to_gray(picture, None if picture.dtype.kind == "f" else 2.0**bits - 1)
        path, _ = locate_input(self._run)
        if path is None:
            return None
        known = np.flatnonzero(self._run.index == recorded)
        seconds = float(self._run.pts_seconds[known[0]]) if known.size else self._time_of(recorded)
        return to_gray(open_input(path).take(0, recorded, seconds), _full_scale(self._run))

    def _time_of(self, index: int) -> float:
        """Tell the time of a frame that is none of the run's own, from the frame rate."""
        rate = str(self._run.section("stream").get("frame_rate", "25"))
        numerator, _, denominator = rate.partition("/")
        step = _quotient(denominator, numerator)
        if not self._run.n_frames:
            return index * step
        return float(self._run.pts_seconds[0] + (index - self._run.index[0]) * step)

    def _try(self, action: Callable[[], T]) -> T | None:
        """Do something, or note why it cannot be done: a report tells of what is left."""
        try:
            return action()
        except (FramenccError, OSError, ValueError) as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))
            return None


def _panel(place: int, cells: Sequence[tuple[str, Gray]]) -> Panel:
    image = join([Image.fromarray(gray) for _, gray in cells])
    return Panel(place, data_uri(image), *image.size, tuple(label for label, _ in cells))


def decode(data: Picture, run: Run) -> Confidence:
    """Turn stored codes back into confidences, by what the sidecar says of their encoding."""
    encoding = run.section("encoding")
    if data.dtype.kind == "f":
        return data.astype(np.float32, copy=False)
    maximum = number(encoding.get("maximum"), float(np.iinfo(data.dtype).max)) or 1.0
    share = data.astype(np.float32) / np.float32(maximum)
    return 2 * share - 1 if encoding.get("encoding") == "signed" else share


def confidence_gray(rho: Confidence) -> Gray:
    """Turn confidences into grays: black is none, white is full; where nothing was measured it is black."""
    return np.rint(np.clip(np.nan_to_num(rho), 0, 1) * 255).astype(np.uint8)


def to_gray(picture: Picture, full_scale: float | None) -> Gray:
    """Turn stored samples into grays.

    Parameters
    ----------
    picture
        (H, W), or (3, H, W) of which the mean is shown.
    full_scale
        The value that is white; None: the picture's own 99th percentile, as floats have no agreed white.
    """
    data = picture.astype(np.float32)
    if data.ndim == 3:
        data = data.mean(axis=0)
    data = np.nan_to_num(data, posinf=0, neginf=0)
    white = full_scale or float(np.percentile(data, 99)) or 1.0
    codes: Gray = np.rint(np.clip(data / np.float32(white), 0, 1) * 255).astype(np.uint8)
    return codes


def join(images: Sequence[Image.Image]) -> Image.Image:
    """Put pictures side by side, each as wide as a cell, all as high as the first."""
    height = max(1, round(images[0].height * CELL_WIDTH / images[0].width))
    mode = "RGB" if any(image.mode == "RGB" for image in images) else "L"
    total = len(images) * CELL_WIDTH + (len(images) - 1) * _GAP
    sheet = Image.new(mode, (total, height), 128 if mode == "L" else (128, 128, 128))
    for place, image in enumerate(images):
        # Areas are averaged; where pixels are enlarged they are to be seen as such.
        way = Image.Resampling.BOX if image.width > CELL_WIDTH else Image.Resampling.NEAREST
        sheet.paste(image.resize((CELL_WIDTH, height), way), (place * (CELL_WIDTH + _GAP), 0))
    return sheet


def data_uri(image: Image.Image) -> str:
    """Return a picture as a JPEG in a data URI."""
    content = io.BytesIO()
    image.save(content, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode("ascii")


def _output(run: Run, name: str) -> Pictures | None:
    path: Path | None = run.output(name)
    return None if path is None else open_output(path)


def _full_scale(run: Run) -> float | None:
    bits = run.section("stream").get("bits")
    return 2.0**bits - 1 if isinstance(bits, int) and 0 < bits <= 16 else None


def _quotient(numerator: str, denominator: str) -> float:
    try:
        return float(numerator or 1) / float(denominator)
    except (ValueError, ZeroDivisionError):
        return math.nan
