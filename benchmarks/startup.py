"""What one waits for before the first frame: the command's own start, and compilation."""

import os
import statistics
import subprocess
import sys
import tempfile
import time

# Imports are outside the measured part: only the kernels of one dtype are compiled, or loaded from disk.
_FIRST_MAP = """
import time
import numpy as np
from framencc import Reference
picture = np.random.default_rng(0).integers(0, 256, (64, 96), dtype=np.uint8)
started = time.perf_counter()
Reference(picture).ncc(picture)
print(time.perf_counter() - started)
"""


def startup_rows(rounds: int) -> list[list[str]]:
    """Measure everything in fresh processes; the first map, which takes seconds, three times at most."""
    few = min(rounds, 3)
    first, second = first_map(few)
    return [
        [
            f"`framencc --help`, whole process (median of {rounds})",
            _seconds(process(["-m", "framencc", "--help"], rounds)),
        ],
        [f"for comparison: `python -c pass` (median of {rounds})", _seconds(process(["-c", "pass"], rounds))],
        [f"first uint8 `Reference(...).ncc(...)`, nothing compiled yet (median of {few})", _seconds(first)],
        [f"the same in a later process, compiled kernels on disk (median of {few})", _seconds(second)],
    ]


def process(arguments: list[str], rounds: int) -> float:
    """Median wall time of a whole Python process, after one run that brings its files into memory."""
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def first_map(rounds: int) -> tuple[float, float]:
    """Median seconds until the first map, with an empty cache folder and with the one this fills."""
    environment = {name: value for name, value in os.environ.items() if name != "FRAMENCC_CACHE"}
    empty: list[float] = []
    filled: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for seconds in (empty, filled):
                command = [sys.executable, "-c", _FIRST_MAP]
                result = subprocess.run(
                    command, check=True, capture_output=True, text=True, env=environment | {"NUMBA_CACHE_DIR": folder}
                )
                seconds.append(float(result.stdout))
    return statistics.median(empty), statistics.median(filled)


def _seconds(value: float) -> str:
    return f"{value:.2f} s"
