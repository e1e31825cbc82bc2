"""The map of one frame: framencc beside box-filter recipes in OpenCV and SciPy, scikit-image's SSIM map, and its own
options beside one another.
"""

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks import recipes
from benchmarks.agreement import EXACT_TOLERANCE, FLOAT32_TOLERANCE, make_judge
from benchmarks.options import options_table
from benchmarks.pictures import textured_pair
from benchmarks.tables import machine, option_parser, publish, say, table
from benchmarks.timing import Timing, describe, milliseconds, time_side_by_side
from framencc import Reference

CASES = (
    ("uint8", 1),
    ("uint8", 3),
    ("uint8", 5),
    ("uint8", 10),
    ("uint8", 31),
    ("uint16", 3),
    ("float32", 3),
)
OURS, TUNED, USUAL = "framencc", "OpenCV recipe, tuned", "OpenCV recipe"
SCIPY, SSIM = "SciPy recipe", "scikit-image SSIM"

NOTES = f"""\
OpenCV recipe: zero-mean normalized cross-correlation from five float32 `cv2.boxFilter` calls and NumPy arithmetic.
Tuned: the reference's share computed once, OpenCV's own arithmetic, no allocation. SciPy: `uniform_filter` in float32,
the reference's share computed once. SSIM is another measure of the same windows, `structural_similarity(full=True)`.
Before it is timed, each map is compared with float64 sums, over all windows inside the picture: framencc within
{EXACT_TOLERANCE:g}; the others within {FLOAT32_TOLERANCE:g} where they compute in float32 (windows with a standard
deviation of at least 2 / 255 of white only), else {EXACT_TOLERANCE:g}."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = option_parser("benchmarks.kernels", __doc__, size="1920x1080", rounds=15).parse_args(arguments)
    width, height = options.size
    rows = []
    for dtype, radius in CASES:
        timings = time_case(dtype, radius, options.size, options.rounds, options.threads)
        say(f"{dtype}, r = {radius}\n{describe(timings, OURS)}")
        rows.append([f"{dtype}, r = {radius}", *cells(timings)])
    head = [f"{width} x {height}, threads: {options.threads}", OURS, TUNED, USUAL, SCIPY, SSIM]
    caption = (
        f"Medians of {options.rounds} rounds taken in turn; in brackets the median of the rounds' ratios to framencc. "
        f"{machine('numba', 'numpy', 'opencv-python', 'scipy', 'scikit-image')}."
    )
    publish("kernels", f"{table(head, rows)}\n\n{caption}\n\n{NOTES}", options.write)
    publish("options", options_table(options.size, options.rounds, options.threads), options.write)


def time_case(dtype: str, radius: int, size: tuple[int, int], rounds: int, threads: int) -> dict[str, Timing]:
    """Check every candidate on one pair of pictures, then time them."""
    import cv2

    cv2.setNumThreads(threads)
    reference, frame = textured_pair(*size, dtype)
    judge = make_judge(reference, frame, radius)
    prepared, out = Reference(reference, radius, threads=threads), np.empty(frame.shape, np.float32)
    judge.check(OURS, prepared.ncc(frame, out), tolerance=EXACT_TOLERANCE)
    # framencc's turn follows that of a single-threaded peer, so no other library's threads are still spinning.
    candidates: dict[str, Callable[[], object]] = {OURS: lambda: prepared.ncc(frame, out)}
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
    return time_side_by_side(candidates, rounds, settling_calls=1)


def cells(timings: dict[str, Timing]) -> list[str]:
    ours = timings[OURS]
    peers = [timings[name] for name in (TUNED, USUAL, SCIPY, SSIM)]
    return [
        milliseconds(ours.median),
        *(f"{milliseconds(peer.median)} ({peer.median_ratio(ours):.1f} x)" for peer in peers),
    ]


if __name__ == "__main__":
    main()
