"""The map of one frame: framencc beside a parallel copy, box-filter recipes in OpenCV and SciPy, and scikit-image."""

from collections.abc import Callable

import numpy as np

from benchmarks import recipes
from benchmarks.agreement import EXACT_TOLERANCE, FLOAT32_TOLERANCE, make_judge
from benchmarks.copying import BYTES_A_PIXEL, copier
from benchmarks.pictures import textured_pair
from benchmarks.tables import Findings, Options, caption, say, table
from benchmarks.timing import Timing, describe, milliseconds, time_side_by_side
from framencc import Reference

DEFAULTS = {"rounds": 15}
RADII = (1, 3, 5, 9, 10, 18, 31)
CASES = (*(("uint8", radius) for radius in RADII), ("uint16", 3), ("float32", 3))
OURS, COPY, TUNED, USUAL = "framencc", "copy", "OpenCV recipe, tuned", "OpenCV recipe"
SCIPY, SSIM = "SciPy recipe", "scikit-image SSIM"
PEERS = (COPY, TUNED, USUAL, SCIPY, SSIM)
FIGURES = {"opencv_tuned": TUNED, "opencv": USUAL, "scipy": SCIPY, "ssim": SSIM}

NOTES = f"""\
Copy: a parallel copy that moves {BYTES_A_PIXEL} bytes a pixel, as many as a map of 8-bit images needs at least.
OpenCV recipe: zero-mean normalized cross-correlation from five float32 `cv2.boxFilter` calls and NumPy arithmetic.
Tuned: the reference's share computed once, OpenCV's own arithmetic, no allocation. SciPy: `uniform_filter` in float32,
the reference's share computed once. SSIM is another measure of the same windows, `structural_similarity(full=True)`.
Before it is timed, each map is compared with float64 sums, over all windows inside the image: framencc within
{EXACT_TOLERANCE:g}; the others within {FLOAT32_TOLERANCE:g} where they compute in float32 (windows with a standard
deviation of at least 2 / 255 of white only), else {EXACT_TOLERANCE:g}."""


def measure(options: Options) -> Findings:
    rows, figures = [], {}
    for dtype, radius in CASES:
        timings = time_case(dtype, radius, options)
        say(f"{dtype}, r = {radius}\n{describe(timings, OURS)}")
        rows.append([f"{dtype}, r = {radius}", *cells(timings)])
        if (dtype, radius) == ("uint8", 3):
            figures = {f"kernels/{key}": timings[name].median_ratio(timings[OURS]) for key, name in FIGURES.items()}
    head = [f"{options.shape}, threads: {options.threads}", OURS, *PEERS]
    text = caption(options, "numba", "numpy", "opencv-python", "scipy", "scikit-image")
    brackets = "In brackets the median of the rounds' ratios to framencc."
    return Findings({"kernels": f"{table(head, rows)}\n\n{text} {brackets}\n\n{NOTES}"}, figures)


def time_case(dtype: str, radius: int, options: Options) -> dict[str, Timing]:
    """Check every candidate on one pair of pictures, then time them."""
    import cv2

    cv2.setNumThreads(options.threads)
    reference, frame = textured_pair(*options.size, dtype)
    judge = make_judge(reference, frame, radius)
    prepared, out = Reference(reference, radius, threads=options.threads), np.empty(frame.shape, np.float32)
    judge.check(OURS, prepared.ncc(frame, out), tolerance=EXACT_TOLERANCE)
    # framencc's turn follows that of a single-threaded peer, so no other library's threads are still spinning.
    candidates: dict[str, Callable[[], object]] = {
        OURS: lambda: prepared.ncc(frame, out),
        COPY: copier(options.size, options.threads),
    }
    for name, make in ((TUNED, recipes.opencv_tuned), (USUAL, recipes.opencv), (SCIPY, recipes.scipy)):
        recipe = make(reference, radius)
        judge.check(name, recipe(frame), tolerance=FLOAT32_TOLERANCE)
        candidates[name] = lambda recipe=recipe: recipe(frame)  # type: ignore[misc]
    # Only without its two constants is SSIM a known multiple of rho; it is timed with them, as everybody calls it.
    plain = recipes.scikit_image(reference, radius, K1=0, K2=0)
    tolerance = FLOAT32_TOLERANCE if dtype == "float32" else EXACT_TOLERANCE
    judge.check(SSIM, plain(frame), tolerance=tolerance, is_similarity=True)
    similarity = recipes.scikit_image(reference, radius)
    candidates[SSIM] = lambda: similarity(frame)
    return time_side_by_side(candidates, options.rounds, settling_calls=1)


def cells(timings: dict[str, Timing]) -> list[str]:
    ours = timings[OURS]
    peers = [timings[name] for name in PEERS]
    return [
        milliseconds(ours.median),
        *(f"{milliseconds(peer.median)} ({peer.median_ratio(ours):.2g} x)" for peer in peers),
    ]
