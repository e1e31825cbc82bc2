"""What all frames of a clip have in common: how confidences are spread, and where in the picture they are low."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from framencc.report.drawing import Confidence, Gray, Panel, as_stored, confidence_gray, make_panel
from framencc.report.panels import Gallery
from framencc.report.runs import Run, number, section
from framencc.spec import MEAN, MINIMUM

_BINS = 40
_SAMPLED = 24
_FLAT = (1, 2)  # codes of pixels that hold 0 although they were not measured; those above hold the fill


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
        self.counts += _binned(rho[used])
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
    cells: list[tuple[str, Gray]] = [] if gallery.static is None else [("static reference", gallery.static)]
    kinds: dict[str, list[str]] = {}
    for name, kind in ((MEAN, "mean"), (MINIMUM, "lowest")):
        if name in maps:
            cells.append((f"{kind} confidence", confidence_gray(maps[name])))
            kinds.setdefault("all frames" if name in own else f"{sample.n_frames} frames of the clip", []).append(kind)
    over = ", ".join(f"{' and '.join(given)} confidence over {frames}" for frames, given in kinds.items())
    return Survey(sample.counts.tolist(), sample.n_frames, make_panel(0, cells), f"Every pixel's {over}.")


def _look(run: Run, gallery: Gallery) -> _Sample:
    sample = _Sample()
    for place in _places(run, gallery):
        rho = gallery.confidence(place)
        if rho is None:
            break
        if gallery.has_validity:
            codes = gallery.validity(place)
            if codes is None or codes.shape != rho.shape:
                break
            sample.add(rho, (codes == 0) & np.isfinite(rho))
        elif _shares(run, place)[0] == 1:
            sample.add(rho, np.isfinite(rho))
        else:
            _add_by_value(run, place, rho, sample)
    return sample


def _places(run: Run, gallery: Gallery) -> list[int]:
    """Choose frames that are spread evenly over those of which is known where they hold a measurement."""
    shares = run.scores["valid_share"]
    known = np.flatnonzero(~(shares == 0))
    if not gallery.has_validity and run.section("encoding").get("codec") == "h264":
        known = np.flatnonzero(shares == 1)  # lossy: what holds no measurement is not known by its value
        if not known.size:
            gallery.problems.append(
                "which pixels of the lossy video hold a measurement is not known (--validity keeps it), so their "
                "distribution is not shown"
            )
    chosen = np.linspace(0, len(known) - 1, min(_SAMPLED, len(known)))
    return sorted({int(known[round(place)]) for place in chosen})


def _add_by_value(run: Run, place: int, rho: Confidence, sample: _Sample) -> None:
    """Add a frame that is measured in part: pixels without a measurement hold 0 or the fill, and the row says how many.

    How many pixels of each value were measured all the same is known as well, though not which ones: they count in the
    distribution, and only the two maps do without them.
    """
    shares = _shares(run, place)
    empty, used = _empty_values(run), np.isfinite(rho)
    n_empty = dict.fromkeys(empty, 0.0)
    for code, share in enumerate(shares[1:], 1):
        n_empty[empty[0] if code in _FLAT else empty[-1]] += rho.size * (share if share > 0 else 0)
    for value, lacking in n_empty.items():
        here = rho == np.float32(value)
        n_measured = int(np.count_nonzero(here)) - round(lacking)
        if round(lacking) > 0:
            used &= ~here
            sample.counts += max(0, n_measured) * _binned(np.array([value], np.float32))
    sample.add(rho, used)


def _empty_values(run: Run) -> tuple[float, ...]:
    """Return what pixels without a measurement hold, as it is stored: 0 where they are flat, and the fill."""
    encoding = run.section("encoding")
    fill = number(section(run.section("spec"), "ncc").get("fill"))
    return as_stored(0.0, encoding), as_stored(fill, encoding)


def _shares(run: Run, place: int) -> npt.NDArray[np.float64]:
    shares = run.code_shares[place]
    return shares if shares.size else np.array([run.scores["valid_share"][place]])


def _binned(values: Confidence) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = np.histogram(np.clip(values, 0, 1), _BINS, (0, 1))[0]
    return counts
