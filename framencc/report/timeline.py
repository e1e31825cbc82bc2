"""What the page's script draws: columns of numbers, and which of them make up which strip of the timeline."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from framencc.report.runs import SCORES, Column, Run
from framencc.report.series import Thinning, pack, pack_all
from framencc.report.stretches import WHOLE


class Timeline:
    """Collects strips and the columns they draw.

    Parameters
    ----------
    run
        Whose frames stand on the time axis.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._columns: dict[str, Column] = {}
        self._strips: list[dict[str, Any]] = []
        self._marks: list[dict[str, Any]] = []

    def column(self, name: str, values: Column) -> str | None:
        """Keep a column; return its name, or None where it holds no number and so cannot be drawn."""
        if not np.isfinite(values).any():
            return None
        self._columns[name] = values
        return name

    def line(
        self, name: str, label: str, values: Column, colour: int, *, group: str | None = None
    ) -> dict[str, Any] | None:
        """Describe a line; None where there is nothing to draw. Lines of one group share their place in the legend."""
        kept = self.column(name, values)
        return None if kept is None else {"column": kept, "label": label, "colour": colour, "group": group or label}

    def strip(
        self,
        title: str,
        views: Mapping[str, Iterable[dict[str, Any] | None]],
        *,
        share: bool = False,
        named: bool = False,
        weight: float = 1.0,
    ) -> None:
        """Add a strip.

        Parameters
        ----------
        title
            What its vertical axis measures.
        views
            Lines by what a user chooses between; None stands for a line without any number.
        share
            Whether its values lie between 0 and 1.
        named
            Whether its lines' labels say what they are without the title.
        weight
            Its height against the others'.
        """
        kept = [
            {"label": label, "lines": lines}
            for label, given in views.items()
            if (lines := [line for line in given if line is not None])
        ]
        if kept:
            strip = {"title": title, "views": kept, "share": share, "named": named, "weight": weight}
            self._strips.append(strip)

    def failures(self, run: Run, label: str) -> None:
        """Mark the frames for which a run found no warp."""
        self._mark(run, label, run.failures, damaged=False)

    def damage(self, run: Run) -> None:
        """Mark the frames that could not be read whole."""
        self._mark(run, "damaged frame", run.damaged, damaged=True)

    def _mark(self, run: Run, label: str, places: Iterable[int], *, damaged: bool) -> None:
        times = [float(run.pts_seconds[place]) for place in sorted(places)]
        if times:
            self._marks.append({"label": label, "times": times, "damaged": damaged})

    def as_json(self, broken: Sequence[tuple[int, int]], start: int) -> dict[str, Any]:
        """Put together what the script needs.

        Parameters
        ----------
        broken
            First and last place of the frames that are shaded.
        start
            The place that is shown first.
        """
        run = self._run
        thinning = Thinning.fitting(run.n_frames, len(self._columns) + 2)
        places = thinning.places
        return {
            "binFrames": thinning.bin_frames,
            "nFrames": run.n_frames,
            "frames": pack(run.index[places].astype(np.float64)),
            "times": pack(run.pts_seconds[places]),
            "columns": pack_all(self._columns, thinning),
            "strips": self._strips,
            "start": float(run.pts_seconds[start]) if run.n_frames else 0.0,
            "broken": [[float(run.pts_seconds[first]), float(run.pts_seconds[last])] for first, last in broken],
            "marks": self._marks,
        }


def run_timeline(run: Run) -> Timeline:
    """Make the timeline of one run: scores and measured shares of each region, warps, sharpness and contrast."""
    timeline = Timeline(run)
    views = {
        SCORES[score]: region_lines(timeline, run, score)
        for score in ("mean_confidence", "median", "p05", "p95", "share_below")
    }
    low, high = (timeline.column(name, run.scores[name]) for name in ("p05", "p95"))
    if low and high:
        band = {"column": high, "base": low, "label": "5th to 95th percentile", "colour": 0, "group": "band"}
        views[SCORES["mean_confidence"]].insert(0, band)
    timeline.strip("confidence", views, share=True, named=True, weight=2.2)
    timeline.strip("measured share", {"": region_lines(timeline, run, "valid_share")}, share=True)
    timeline.strip("mean displacement in pixels", {"": region_lines(timeline, run, "warp_magnitude")})
    ratios = [
        timeline.line("sharpness_ratio", "sharpness", run.scores["sharpness_ratio"], 6),
        timeline.line("gain", "contrast", run.scores["gain"], 15),  # dotted: told apart without its colour too
    ]
    timeline.failures(run, "no warp found")
    timeline.damage(run)
    timeline.strip("sharpness and contrast over the reference's", {"": ratios}, named=True)
    return timeline


def region_lines(timeline: Timeline, run: Run, score: str) -> list[dict[str, Any] | None]:
    """Describe the lines of a score: the whole frame's, and every region's."""
    lines = [timeline.line(score, WHOLE, run.scores[score], 0)]
    for number, (name, region) in enumerate(run.regions.items(), 1):
        lines.append(timeline.line(f"{name}/{score}", name, region.scores[score], number, group=f"region {name}"))
    return lines
