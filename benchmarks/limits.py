"""Every bound that framencc is held to, in one place: what is measured, by which benchmark, and how much it may be.

The bounds are meant for 1920 x 1080 and two threads. Beside those in seconds the table shows how long it takes to
import Numba, SciPy and scikit-image: on a machine where that is slow, so is every start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.tables import processor, table


@dataclass(frozen=True)
class Limit:
    """A figure of a benchmark, at most (or at least) so large."""

    what: str
    figure: str
    bound: float
    unit: str = "x"
    at_least: bool = False

    def is_met(self, measured: float) -> bool:
        return measured >= self.bound if self.at_least else measured <= self.bound

    def show(self, value: float) -> str:
        return f"{value:.3g} {self.unit}" if value < 100 else f"{value:.0f} {self.unit}"


LIMITS = (
    Limit("uint8 map, r = 1, over a parallel copy of 14 bytes a pixel", "options/r1/copy", 1.3),
    Limit("uint8 map, r = 3, over the copy", "options/r3/copy", 2.0),
    Limit("uint8 map, r = 9, over the copy", "options/r9/copy", 2.8),
    Limit("slowest of r = 1 to 31 over the fastest", "options/radii", 2.5),
    Limit(
        "OpenCV recipe with a cached reference, tuned, over the map, r = 3", "kernels/opencv_tuned", 8, at_least=True
    ),
    Limit("OpenCV recipe, untuned, over the map, r = 3", "kernels/opencv", 16, at_least=True),
    Limit("SciPy recipe over the map, r = 3", "kernels/scipy", 40, at_least=True),
    Limit("map, codes, validity and all scores over the map alone, r = 3", "options/everything", 1.9),
    Limit("uint16 map over uint8, r = 3", "options/uint16", 2.0),
    Limit("float32 map over uint8, r = 3", "options/float32", 3.0),
    Limit("static mask covering half the frame over no mask, r = 3", "options/half_mask", 1.3),
    Limit("one thread over two, r = 3", "scaling/threads/2", 1.75, at_least=True),
    Limit("4K over 1080p, time a pixel, r = 3", "scaling/4K", 1.15),
    Limit("8K over 1080p, time a pixel, r = 3", "scaling/8K", 1.15),
    Limit("own CPU time of a run, a frame", "runs/300/own_cpu_ms", 12, "ms"),
    Limit("whole run, 300 frames, over ffmpeg decoding and encoding", "runs/300/ratio", 1.35),
    Limit("whole run, 1000 frames, over ffmpeg decoding and encoding", "runs/1000/ratio", 1.2),
    Limit("peak memory of the main process, 300 frames", "runs/300/peak_mb", 300, "MB"),
    Limit("peak memory of the main process, 1000 frames", "runs/1000/peak_mb", 300, "MB"),
    Limit("flow run with weight, 300 frames, over the sum of its parts", "flow/300/ratio", 1.25),
    Limit("first run ever, kernels compiled", "startup/first_s", 5, "s"),
    Limit("second run", "startup/second_s", 1.2, "s"),
    Limit("framencc --help", "startup/help_s", 0.3, "s"),
)


def limits_table(figures: Mapping[str, float]) -> str:
    """Show every bound whose figure was measured; nothing where there is none."""
    rows = []
    for limit in LIMITS:
        if (measured := figures.get(limit.figure)) is not None:
            bound = f"{'>=' if limit.at_least else '<='} {limit.show(limit.bound)}"
            rows.append([limit.what, limit.show(measured), bound, "yes" if limit.is_met(measured) else "no"])
    if not rows:
        return ""
    text = table([f"on {processor()}", "measured", "bound", "met"], rows)
    if "startup/imports_s" in figures:
        text += f"\n\n`import numba, scipy, skimage` takes {figures['startup/imports_s']:.2f} s here."
    return text


def as_json(figures: Mapping[str, float]) -> list[dict[str, Any]]:
    """List every bound with what was measured, or None."""
    return [
        {
            "what": limit.what,
            "figure": limit.figure,
            "bound": limit.bound,
            "at_least": limit.at_least,
            "unit": limit.unit,
            "measured": (measured := figures.get(limit.figure)),
            "met": None if measured is None else limit.is_met(measured),
        }
        for limit in LIMITS
    ]
