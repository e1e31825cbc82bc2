"""The worst frames as small pictures: static reference, warped frame and confidence side by side."""

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from framencc.errors import FramenccError, SourceError
from framencc.frames import CodeRange, Picture
from framencc.report.drawing import (
    Cell,
    Confidence,
    Gray,
    Panel,
    confidence_gray,
    decode,
    make_panel,
    mark_unmeasured,
    no_picture,
    to_gray,
)
from framencc.report.measured import used_pixels
from framencc.report.pictures import Pictures, open_input, open_output, read_result, reading_output, require_genuine
from framencc.report.runs import Run, locate_input, locate_reference, number, section
from framencc.shades import Shades
from framencc.sources import read_picture
from framencc.sources.significant import Codes, find_code_range

T = TypeVar("T")


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
    static
        The reference; None where it is gone.
    """

    def __init__(self, run: Run) -> None:
        self.problems: list[str] = []
        self._run = run
        self._noted: set[str] = set()
        self._outputs = {
            name: found
            for name in ("output", "validity", "warped")
            if (found := self._try(name, functools.partial(_output, run, name))) is not None
        }
        self._frames = None if "warped" in self._outputs else self._open_frames()
        self._frame_label, gain = "frame", 1
        if "warped" in self._outputs:
            self._frame_label = "warped frame"
            gain = round(number(run.head.get("warp_gain"), 1.0)) or 1
        elif section(run.section("spec"), "warp").get("method", "none") != "none":
            self._frame_label = "frame, not warped"
            if run.output("warped") is None:  # otherwise it is said what became of them
                kept = "the warped frames were not kept (--warped keeps them)"
                self.problems.append(f"{kept}, so frames are shown unwarped")
        self.static: Gray | None = None
        self._shades: Shades | None = None
        if (static := self._try("reference", self._read_static)) is not None:
            picture, code_range = static
            shades = Shades.of(picture, code_range)
            self.static = to_gray(picture, shades)
            self._shades = shades.for_frames(code_range, _code_range(run.section("stream")), gain)

    def draw(self, place: int) -> Panel | None:
        """Draw one frame; None where nothing of it is left."""
        cells: list[tuple[str, Cell]] = []
        if self.static is not None:
            cells.append(("static reference", self.static))
        nothing = self._nothing_to_show(place)
        if nothing is not None:
            if self.static is not None:
                cells.append((nothing, no_picture(self.static.shape)))
        elif (data := self._frame(place)) is not None:
            # Without the reference the first frame decides: one choice for all, so that a change of light is seen.
            self._shades = self._shades or Shades.of(data, _code_range(self._run.section("stream")))
            cells.append((self._frame_label, to_gray(data, self._shades)))
        if (rho := self.confidence(place)) is not None:
            unmeasured = ~used_pixels(self._run, place, rho, self.validity(place))[0]
            cells.append(("confidence", mark_unmeasured(confidence_gray(rho), unmeasured)))
        return make_panel(place, cells) if cells else None

    def confidence(self, place: int) -> Confidence | None:
        """Return the map of one frame as it is stored, in [-1, 1]; None where it is gone."""
        data = self._take("output", place)
        return None if data is None else decode(data, self._run.section("encoding"))

    @property
    def has_validity(self) -> bool:
        """Whether the run wrote why each pixel has a value, or none."""
        return "validity" in self._outputs

    def validity(self, place: int) -> Picture | None:
        """Return the validity codes of one frame; None where they are gone."""
        return self._take("validity", place)

    def clip_map(self, name: str) -> Confidence | None:
        """Return a map of the whole clip by its name in the sidecar; None where there is none of the run."""
        path = self._run.output(name)
        if path is None:
            return None
        data = self._try(name, lambda: read_result(self._run, name, path))
        return None if data is None else decode(data, section(self._run.section("results"), name))

    def _nothing_to_show(self, place: int) -> str | None:
        """Say why no picture of a frame is shown; None where one is.

        Among the warped frames, one without a warp is black; without these, it is shown as it is in the input.
        """
        if place in self._run.damaged:
            return "damaged frame"
        return "no warp was found" if place in self._run.invalid and "warped" in self._outputs else None

    def _frame(self, place: int) -> Picture | None:
        frames = self._frames
        if frames is None:
            return self._take("warped", place)
        return self._try("input", lambda: frames.take(*self._where(place)))

    def _take(self, name: str, place: int) -> Picture | None:
        pictures = self._outputs.get(name)
        return None if pictures is None else self._try(name, lambda: self._genuine(name, pictures, place))

    def _genuine(self, name: str, pictures: Pictures, place: int) -> Picture:
        with reading_output(Path(str(self._run.output(name)))):
            data = pictures.take(*self._where(place))
        try:
            require_genuine(self._run, name, place, data)
        except SourceError:
            del self._outputs[name]  # frames that are alike by chance are no more the run's own
            raise
        return data

    def _where(self, place: int) -> tuple[int, int, float]:
        return place, int(self._run.index[place]), float(self._run.pts_seconds[place])

    def _open_frames(self) -> Pictures | None:
        path, problem = locate_input(self._run)
        if path is None:
            self._note("input", str(problem))
            return None
        return self._try("input", lambda: open_input(path))

    def _read_static(self) -> tuple[Picture, CodeRange | None] | None:
        """Return the reference and which of its codes are black and white; None where the run's file is gone."""
        recorded = self._run.section("spec").get("reference")
        if not isinstance(recorded, int):
            path, problem = locate_reference(self._run)
            if path is None:
                self.problems.append(str(problem))
                return None
            picture = read_picture(path)
            if picture.dtype.kind == "f":
                return picture, None
            told = _code_range(self._run.section("reference"))
            return picture, told or find_code_range(picture.dtype, [Codes.of(picture)], None, "reference")
        path, problem = locate_input(self._run)
        if path is None:
            self._note("input", str(problem))
            return None
        known = np.flatnonzero(self._run.index == recorded)
        seconds = float(self._run.pts_seconds[known[0]]) if known.size else self._time_of(recorded)
        return open_input(path).take(0, recorded, seconds), _code_range(self._run.section("stream"))

    def _time_of(self, index: int) -> float:
        """Tell the time of a frame that is none of the run's own, from the frame rate."""
        rate = str(self._run.section("stream").get("frame_rate", "25"))
        numerator, _, denominator = rate.partition("/")
        step = _quotient(denominator, numerator)
        if not self._run.n_frames:
            return index * step
        return float(self._run.pts_seconds[0] + (index - self._run.index[0]) * step)

    def _try(self, what: str, action: Callable[[], T]) -> T | None:
        """Do something, or note why it cannot be done, once for each file: a report tells of what is left."""
        try:
            return action()
        except (FramenccError, OSError, ValueError) as error:
            self._note(what, str(error))
            return None

    def _note(self, what: str, problem: str) -> None:
        if what not in self._noted:
            self._noted.add(what)
            self.problems.append(problem)


def _output(run: Run, name: str) -> Pictures | None:
    path: Path | None = run.output(name)
    return None if path is None else open_output(path)


def _code_range(told: Mapping[str, Any]) -> CodeRange | None:
    """Return which codes a section of the sidecar says are black and white; None of floats, or where it does not."""
    bits, black, white = (told.get(name) for name in ("bits", "black", "white"))
    if not isinstance(bits, int) or not 0 < bits <= 16:
        return None
    if isinstance(black, int) and isinstance(white, int) and 0 <= black < white < 1 << 16:
        return CodeRange(bits, black, white)
    return CodeRange.of_bits(bits)


def _quotient(numerator: str, denominator: str) -> float:
    try:
        return float(numerator or 1) / float(denominator)
    except (ValueError, ZeroDivisionError):
        return math.nan
