"""What framencc's own options cost, beside the plain case (uint8, radius 3) and a copy of the same bytes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.agreement import EXACT_TOLERANCE, inside
from benchmarks.copying import copier
from benchmarks.measuring import measurement
from benchmarks.pictures import Picture, textured_pair
from benchmarks.tables import Findings, Options, caption, say, table
from benchmarks.timing import Timing, describe, milliseconds, time_side_by_side
from framencc import Reference

DEFAULTS = {"rounds": 15}
COPY, PLAIN, SMALLEST = "a parallel copy of 14 bytes a pixel", "uint8, r = 3", "uint8, r = 1"
EVERYTHING, HALF = "uint8, r = 3, map, codes, validity and scores", "uint8, r = 3, a mask that covers half"
RADII = (1, 3, 5, 9, 10, 18, 31)
MANY = (3, 5, 10)

Use = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """One way to call framencc, and the row that it is compared with."""

    name: str
    dtype: str = "uint8"
    radius: int | tuple[int, ...] = 3
    base: str = PLAIN
    combine: str = "mean"
    share: float = 1.0  # how much of the picture a mask lets through
    mask_of_frame: bool = False
    joint: bool = False
    with_validity: bool = False


CASES = (
    *(Case(f"uint8, r = {radius}", radius=radius, base=COPY) for radius in RADII),
    Case("uint16, r = 3", "uint16"),
    Case("float32, r = 3", "float32"),
    Case("uint8, r = 3, map and validity", with_validity=True),
    Case(HALF, share=0.5),
    Case("uint8, r = 3, a mask that covers a fifth", share=0.8),
    Case("uint8, r = 3, the same mask for each frame", share=0.8, mask_of_frame=True),
    Case("uint8 RGB, r = 3, joint", joint=True),
    Case("uint8, r = 3, 5 and 10, mean", radius=MANY),
    Case("uint8, r = 3, 5 and 10, min", radius=MANY, combine="min"),
)

NOTES = f"""\
The ratio is the median of the rounds' ratios to the case in brackets. Each map is first compared with float64 sums,
within {EXACT_TOLERANCE:g}. A mask lets an ellipse through, as around a face. Scores: mean, median and percentiles,
share below a threshold, sharpness and gain."""


def measure(options: Options) -> Findings:
    timings = time_options(options)
    say(f"options\n{describe(timings, PLAIN)}")
    bases = {case.name: case.base for case in CASES} | {COPY: PLAIN, EVERYTHING: PLAIN}
    rows = [
        [name, milliseconds(timing.median), f"{timing.median_ratio(timings[bases[name]]):.2f} x ({bases[name]})"]
        for name, timing in timings.items()
    ]
    head = [f"{options.shape}, threads: {options.threads}", "framencc", "ratio"]
    text = f"{table(head, rows)}\n\n{caption(options, 'numba', 'numpy')} {NOTES}"
    return Findings({"options": text.replace(f"({COPY})", "(copy)")}, figures_of(timings))


def figures_of(timings: dict[str, Timing]) -> dict[str, float]:
    """Name the ratios that have a bound."""
    plain, copy = timings[PLAIN], timings[COPY]
    radii = [timings[f"uint8, r = {radius}"] for radius in RADII]
    fastest = min(radii, key=lambda timing: timing.median)
    found = {f"options/r{r}/copy": timing.median_ratio(copy) for r, timing in zip(RADII, radii, strict=True)}
    return found | {
        "options/radii": max(timing.median_ratio(fastest) for timing in radii),
        "options/uint16": timings["uint16, r = 3"].median_ratio(plain),
        "options/float32": timings["float32, r = 3"].median_ratio(plain),
        "options/half_mask": timings[HALF].median_ratio(plain),
        "options/everything": timings[EVERYTHING].median_ratio(plain),
    }


def time_options(options: Options) -> dict[str, Timing]:
    """Check every case, then time all of them in turn."""
    candidates: dict[str, Callable[[], object]] = {COPY: copier(options.size, options.threads)}
    for case in CASES:
        candidates[case.name] = make(case, options)
    reference, frame = textured_pair(*options.size, "uint8")
    everything = measurement(reference, 3, options.threads)
    check(EVERYTHING, everything(frame), reference, frame, 3, None)
    candidates[EVERYTHING] = lambda: everything(frame)
    return time_side_by_side(candidates, options.rounds, settling_calls=1)


def make(case: Case, options: Options) -> Callable[[], object]:
    """Check one case and return what is timed."""
    pair = textured_pair(*options.size, case.dtype)
    reference, frame = (in_colour(picture) for picture in pair) if case.joint else pair
    use = None if case.share == 1 else ellipse(*options.size, case.share)
    own, mask = (None, use) if case.mask_of_frame else (use, None)
    channel = "joint" if case.joint else "luma"
    prepared = Reference(
        reference, case.radius, mask=own, channel=channel, combine=case.combine, threads=options.threads
    )
    out = np.empty(frame.shape[:2], np.float32)
    check(case.name, prepared.ncc(frame, out, mask=mask), reference, frame, case.radius, use, case.combine)
    if case.with_validity:
        return lambda: prepared.ncc(frame, out, mask=mask, return_validity=True)
    return lambda: prepared.ncc(frame, out, mask=mask)


def in_colour(picture: Picture) -> Picture:
    return np.stack([np.roll(picture, shift, axis=0) for shift in range(3)], axis=2)


def ellipse(width: int, height: int, share: float) -> Use:
    """Use a share of the picture, up to pi / 4: the middle, as around a face."""
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    used: Use = x * x + y * y <= min(1.0, share / (np.pi / 4))
    return used


def check(
    name: str,
    result: Picture,
    reference: Picture,
    frame: Picture,
    radius: int | tuple[int, ...],
    use: Use | None,
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


def float64_map(reference: Picture, frame: Picture, radius: int, use: Use | None) -> npt.NDArray[np.float64]:
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
