"""How the time of a map follows the number of threads and the size of the picture: uint8, radius 3."""

import os
from collections.abc import Callable

import numpy as np

from benchmarks.copying import copier
from benchmarks.pictures import textured_pair
from benchmarks.tables import Findings, Options, caption, say, table
from benchmarks.timing import Timing, describe, milliseconds, time_side_by_side
from framencc import Reference

DEFAULTS = {"rounds": 15}
RADIUS = 3
SIZES = {"1080p": 1, "4K": 2, "8K": 4}  # times the width and height that are asked for

NOTES = f"""\
uint8, radius {RADIUS}. Copy: a parallel copy of 14 bytes a pixel by as many threads. Efficiency: the time of one
thread, divided by the time and the number of threads."""


def measure(options: Options) -> Findings:
    threads_text, figures = measure_threads(options)
    sizes_text, more = measure_sizes(options)
    text = f"{threads_text}\n\n{sizes_text}\n\n{caption(options, 'numba', 'numpy')}\n\n{NOTES}"
    return Findings({"scaling": text}, figures | more)


def map_of(size: tuple[int, int], threads: int) -> Callable[[], object]:
    reference, frame = textured_pair(*size, "uint8")
    prepared, out = Reference(reference, RADIUS, threads=threads), np.empty(frame.shape, np.float32)
    return lambda: prepared.ncc(frame, out)


def measure_threads(options: Options) -> tuple[str, dict[str, float]]:
    """Time 1 to N threads, N being the number of cores."""
    counts = range(1, (os.cpu_count() or 1) + 1)
    candidates = {f"{n} map": map_of(options.size, n) for n in counts}
    candidates |= {f"{n} copy": copier(options.size, n) for n in counts}
    timings = time_side_by_side(candidates, options.rounds, settling_calls=1)
    say(f"threads\n{describe(timings, '1 map')}")
    alone, alone_copy = timings["1 map"], timings["1 copy"]
    rows, figures = [], {}
    for n in counts:
        ours, copy = timings[f"{n} map"], timings[f"{n} copy"]
        gain = alone.median_ratio(ours)
        figures[f"scaling/threads/{n}"] = gain
        gains = [f"{gain:.2f} x", f"{gain / n:.0%}"]
        rows.append([str(n), milliseconds(ours.median), *gains, _cell(copy, alone_copy)])
    head = [f"threads, {options.shape}", "map", "faster than one", "efficiency", "copy"]
    return table(head, rows), figures


def _cell(copy: Timing, alone: Timing) -> str:
    return f"{milliseconds(copy.median)} ({alone.median_ratio(copy):.2f} x)"


def measure_sizes(options: Options) -> tuple[str, dict[str, float]]:
    """Time larger pictures, a pixel."""
    sizes = {name: (factor * options.size[0], factor * options.size[1]) for name, factor in SIZES.items()}
    n_pixels = {name: width * height for name, (width, height) in sizes.items()}
    candidates = {name: map_of(size, options.threads) for name, size in sizes.items()}
    candidates |= {f"{name} copy": copier(size, options.threads) for name, size in sizes.items()}
    timings = time_side_by_side(candidates, options.rounds, settling_calls=1)
    say(f"sizes\n{describe(timings, '1080p')}")
    rows, figures = [], {}
    for name, (width, height) in sizes.items():
        ours, copy = timings[name], timings[f"{name} copy"]
        ratio = ours.median_ratio(timings["1080p"]) * n_pixels["1080p"] / n_pixels[name]
        figures[f"scaling/{name}"] = ratio
        a_pixel = f"{1e9 * ours.median / n_pixels[name]:.3f} ns"
        rows.append(
            [f"{width} x {height}", milliseconds(ours.median), a_pixel, f"{ratio:.2f} x", milliseconds(copy.median)]
        )
    head = [f"sizes, threads: {options.threads}", "map", "a pixel", "over the first", "copy"]
    return table(head, rows), figures
