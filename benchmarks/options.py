"""What framencc's own options cost, beside the plain case: uint8, radius 3."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.agreement import EXACT_TOLERANCE, inside
from benchmarks.pictures import Picture, textured_pair
from benchmarks.tables import machine, say, table
from benchmarks.timing import Timing, describe, milliseconds, time_side_by_side
from framencc import Reference

PLAIN, SMALLEST = "uint8, r = 3", "uint8, r = 1"
RADII = (3, 5, 10)
# The name of a row, and that of the row it is compared with.
ROWS = {
    PLAIN: PLAIN,
    "uint16, r = 3": PLAIN,
    "float32, r = 3": PLAIN,
    "uint8, r = 3, with a mask": PLAIN,
    "uint8, r = 3, with a mask for each frame": PLAIN,
    "uint8 RGB, r = 3, joint": PLAIN,
    "uint8, r = 3, 5 and 10, mean": PLAIN,
    "uint8, r = 3, 5 and 10, min": PLAIN,
    SMALLEST: PLAIN,
    "uint8, r = 31": SMALLEST,
}


def options_table(size: tuple[int, int], rounds: int, threads: int) -> str:
    """Check every case, time all of them in turn, and lay out what was found."""
    timings = time_options(size, rounds, threads)
    say(f"options\n{describe(timings, PLAIN)}")
    rows = [
        [name, milliseconds(timings[name].median), f"{timings[name].median_ratio(timings[base]):.2f} x ({base})"]
        for name, base in ROWS.items()
    ]
    head = [f"{size[0]} x {size[1]}, threads: {threads}", "framencc", "ratio"]
    caption = (
        f"Medians of {rounds} rounds taken in turn, and the median of the rounds' ratios to the case in brackets. Each "
        f"map was first compared with float64 sums, within {EXACT_TOLERANCE:g}. {machine('numba', 'numpy')}."
    )
    return f"{table(head, rows)}\n\n{caption}"


def time_options(size: tuple[int, int], rounds: int, threads: int) -> dict[str, Timing]:
    gray, wide, floats = (textured_pair(*size, dtype) for dtype in ("uint8", "uint16", "float32"))
    colours = [np.stack([np.roll(picture, shift, axis=0) for shift in range(3)], axis=2) for picture in gray]
    use = ellipse(*size)
    cases: tuple[tuple[Sequence[Picture], int | tuple[int, ...], dict[str, Any]], ...] = (
        (gray, 3, {}),
        (wide, 3, {}),
        (floats, 3, {}),
        (gray, 3, {"mask": use}),
        (gray, 3, {"frame_mask": use}),
        (colours, 3, {"channel": "joint"}),
        (gray, RADII, {}),
        (gray, RADII, {"combine": "min"}),
        (gray, 1, {}),
        (gray, 31, {}),
    )
    out = np.empty(gray[0].shape, np.float32)
    candidates = {}
    for name, ((reference, frame), radius, options) in zip(ROWS, cases, strict=True):
        mask = options.pop("frame_mask", None)
        prepared = Reference(reference, radius, threads=threads, **options)
        masked = options.get("mask", mask)
        check(
            name, prepared.ncc(frame, out, mask=mask), reference, frame, radius, masked, options.get("combine", "mean")
        )
        candidates[name] = lambda prepared=prepared, frame=frame, mask=mask: prepared.ncc(frame, out, mask=mask)
    return time_side_by_side(candidates, rounds, settling_calls=1)


def ellipse(width: int, height: int) -> npt.NDArray[np.bool_]:
    """Use what lies in the largest ellipse, as around a face."""
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    used: npt.NDArray[np.bool_] = x * x + y * y <= 1
    return used


def check(
    name: str,
    result: Picture,
    reference: Picture,
    frame: Picture,
    radius: int | tuple[int, ...],
    use: npt.NDArray[np.bool_] | None,
    combine: str = "mean",
) -> None:
    """Refuse a map that is further off than the tolerance anywhere inside the picture."""
    radii = (radius,) if isinstance(radius, int) else radius
    margin = max(radii)
    maps = [inside(float64_map(reference, frame, each, use), margin) for each in radii]
    worst = np.abs(inside(result, margin) - {"mean": np.mean, "min": np.min}[combine](maps, axis=0)).max()
    # Written so that a NaN is refused too.
    if not worst <= EXACT_TOLERANCE:
        raise AssertionError(f"{name}: off by {worst:.3g}, at most {EXACT_TOLERANCE:g} is expected")


def float64_map(
    reference: Picture, frame: Picture, radius: int, use: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.float64]:
    """Take the map from float64 sums, for windows inside the picture; 0 where a mask leaves too few pixels."""
    from scipy.ndimage import uniform_filter

    weight = np.ones(frame.shape[:2]) if use is None else use.astype(np.float64)

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        averaged: npt.NDArray[np.float64] = uniform_filter(values * weight, 2 * radius + 1)
        return averaged

    share = mean(weight)
    s_rr, s_ff, s_rf = np.zeros((3, *weight.shape))
    for x, y in zip(np.atleast_3d(reference).T, np.atleast_3d(frame).T, strict=True):
        r, f = x.T.astype(np.float64), y.T.astype(np.float64)
        s_rr += share * mean(r * r) - mean(r) ** 2
        s_ff += share * mean(f * f) - mean(f) ** 2
        s_rf += share * mean(r * f) - mean(r) * mean(f)
    measured = (weight > 0) & (share >= 0.5)
    return np.where(measured, s_rf / np.sqrt(np.where(measured, s_rr * s_ff, 1.0)), 0.0)
