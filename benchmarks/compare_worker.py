"""One side of `benchmarks.compare`: it measures, with the framencc that it finds, the cases that it is asked for.

It reads names of cases, a line each, and answers each with the seconds. Only what the public interface has had since
its first version is used, so that old commits can be measured.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pictures import textured_pair
from benchmarks.processes import run_framencc

_KERNELS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    **{f"uint8-r{radius}": ("uint8", radius, {}) for radius in (1, 3, 9, 31)},
    "uint16-r3": ("uint16", 3, {}),
    "float32-r3": ("float32", 3, {}),
    "uint8-r3-r5": ("uint8", (3, 5), {}),
    "uint8-r3-mask": ("uint8", 3, {"mask": True}),
    "uint8-r3-validity": ("uint8", 3, {"return_validity": True}),
    "uint8-r3-prepare": ("uint8", 3, {"prepare": True}),
}
RUNS: dict[str, tuple[str, ...]] = {
    "run": (),
    "run-flow": ("--warp", "flow", "--warp.forward-backward", "weight"),
    "help": ("--help",),
}
CASES = (*_KERNELS, *RUNS)
_LEAST_SECONDS = 0.02  # a kernel is called so often that one answer takes about this long


def kernel_case(name: str, size: tuple[int, int], threads: int) -> Callable[[], float]:
    """Return a function that measures the seconds of one call."""
    from framencc import Reference

    dtype, radius, options = _KERNELS[name]
    reference, frame = textured_pair(*size, dtype)
    y, x = np.ogrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    mask = (x * x + y * y <= 1) if options.get("mask") else None
    prepared, out = Reference(reference, radius, mask=mask, threads=threads), np.empty(frame.shape, np.float32)
    with_validity = bool(options.get("return_validity"))

    def call() -> None:
        if options.get("prepare"):
            Reference(reference, radius, threads=threads)
        else:
            prepared.ncc(frame, out, return_validity=with_validity)

    call()
    started = time.perf_counter()
    call()
    n_calls = max(1, round(_LEAST_SECONDS / (time.perf_counter() - started)))

    def measure() -> float:
        call()  # settles the caches
        started = time.perf_counter()
        for _ in range(n_calls):
            call()
        return (time.perf_counter() - started) / n_calls

    return measure


def run_case(name: str, given: dict[str, Any], folder: Path) -> Callable[[], float]:
    """Return a function that measures the seconds of a whole process."""
    if name == "help":
        return lambda: run_framencc("--help").seconds
    words = ("run", given["clip"], folder / "maps.mkv", "--reference", 0, "--threads", given["threads"])
    return lambda: run_framencc(*words, "--overwrite", "--quiet", *RUNS[name]).seconds


def main() -> None:
    import framencc

    given = json.loads(sys.argv[1])
    # Results go to the pipe alone: whatever else is printed goes to stderr.
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**facts: object) -> None:
        results.write(json.dumps(facts) + "\n")
        results.flush()

    answer(package=str(Path(framencc.__file__).resolve()))
    measures: dict[str, Callable[[], float]] = {}
    with tempfile.TemporaryDirectory(prefix="framencc-compare-") as folder:
        for line in sys.stdin:
            name = line.rstrip("\n")
            if name not in measures:
                if name in RUNS:
                    measures[name] = run_case(name, given, Path(folder))
                else:
                    measures[name] = kernel_case(name, tuple(given["size"]), given["threads"])
            answer(seconds=measures[name]())


if __name__ == "__main__":
    main()
