"""What all frames of a clip have in common: how confidences are spread, and where in the picture they are low."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from framencc.report.drawing import Cell, Confidence, Panel, confidence_gray, make_panel, mark_unmeasured
from framencc.report.measured import knows_measured, measured_pixels
from framencc.report.panels import Gallery
from framencc.report.runs import Run, section
from framencc.spec import MEAN, MINIMUM

_BINS = 40
_SAMPLED = 24


@dataclass(frozen=True)
class Survey:
    """What a look over a clip has found.

    Parameters
    ----------
    counts
        Measured pixels by confidence, in equal bins from 0 to 1; what is below 0 counts as 0. All 0 where no frame
        could be looked at.
    n_sampled
        How many frames were looked at.
    panel
        Static reference, mean and lowest confidence of every pixel.
    note
        What the panel shows, and over which frames.
    """

    counts: list[int]
    n_sampled: int
    panel: Panel
    note: str


@dataclass
class _Sample:
    """What adds up over the frames that are looked at."""

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    n_frames: int = 0
    totals: npt.NDArray[np.float64] | None = None
    n_used: npt.NDArray[np.int64] | None = None
    lowest: Confidence | None = None

    def add(self, rho: Confidence, used: npt.NDArray[np.bool_]) -> None:
        if self.totals is None or self.n_used is None or self.lowest is None:
            self.totals, self.n_used = np.zeros(rho.shape), np.zeros(rho.shape, np.int64)
            self.lowest = np.full(rho.shape, np.inf, np.float32)
        self.totals += np.where(used, rho, 0)
        self.n_used += used
        np.minimum(self.lowest, rho, out=self.lowest, where=used)
        self.n_frames += 1

    def maps(self) -> dict[str, Confidence]:
        """Return the mean and the lowest of every pixel; NaN where nothing was measured."""
        if self.totals is None or self.n_used is None or self.lowest is None:
            return {}
        mean = np.where(self.n_used > 0, self.totals / np.maximum(self.n_used, 1), np.nan).astype(np.float32)
        return {MEAN: mean, MINIMUM: np.where(self.n_used > 0, self.lowest, np.float32(np.nan))}


def survey(run: Run, gallery: Gallery) -> Survey | None:
    """Look at a clip; None where nothing is left to look at.

    Its maps are those of the run, if it made them (`scores.temporal_mean`, `scores.temporal_minimum`). Otherwise, and
    for the distribution, frames are taken that are spread evenly over those in which something was measured.
    """
    sample = _look(run, gallery)
    own = {name: found for name in (MEAN, MINIMUM) if (found := gallery.clip_map(name)) is not None}
    maps = sample.maps() | own
    if not maps:
        return None
    cells: list[tuple[str, Cell]] = [] if gallery.static is None else [("static reference", gallery.static)]
    kinds: dict[str, list[str]] = {}
    for name, kind in ((MEAN, "mean"), (MINIMUM, "lowest")):
        if name in maps:
            shown = mark_unmeasured(confidence_gray(maps[name]), np.isnan(maps[name]))
            cells.append((f"{kind} confidence", shown))
            some = f"{sample.n_frames} frame{'s' if sample.n_frames > 1 else ''} of the clip"
            kinds.setdefault("all frames" if name in own else some, []).append(kind)
    over = ", ".join(f"{' and '.join(given)} confidence over {frames}" for frames, given in kinds.items())
    note = f"Every pixel's {over}."
    if any(section(run.section("results"), name).get("encoding") != "float" for name in own):
        note += " In a map of codes what was never measured is black as well."
    return Survey(sample.counts.tolist(), sample.n_frames, make_panel(0, cells), note)


def _look(run: Run, gallery: Gallery) -> _Sample:
    sample = _Sample()
    for place in _places(run, gallery):
        rho = gallery.confidence(place)
        if rho is None:
            continue  # the gallery has noted why
        found = measured_pixels(run, place, rho, gallery.validity(place))
        if found is not None:
            used = found.mask
            for value, n_measured in found.hidden.items():
                here = rho == np.float32(value)
                # Which of them were measured is not known. The distribution counts as many as there were; the two maps
                # take all of them for what most of them are.
                if n_measured >= np.count_nonzero(here) / 2:
                    used = used | here
                sample.counts += n_measured * _binned(np.array([value], np.float32))
            sample.add(rho, used)
            sample.counts += _binned(rho[found.mask])
    return sample


def _places(run: Run, gallery: Gallery) -> list[int]:
    """Choose frames that are spread evenly over those of which is known where they hold a measurement."""
    measured = np.flatnonzero(~(run.scores["valid_share"] == 0))
    known = measured
    if not gallery.has_validity:
        known = np.array([place for place in measured.tolist() if knows_measured(run, place)], np.int64)
        if measured.size and not known.size:
            gallery.problems.append(
                "which pixels of the maps hold a measurement is not known (--validity keeps it), so their "
                "distribution is not shown"
            )
    chosen = np.linspace(0, len(known) - 1, min(_SAMPLED, len(known)))
    return sorted({int(known[round(place)]) for place in chosen})


def _binned(values: Confidence) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = np.histogram(np.clip(values, 0, 1), _BINS, (0, 1))[0]
    return counts
