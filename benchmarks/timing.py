"""Times several ways of doing one thing side by side.

Clocks, caches and neighbours drift over seconds, so the candidates take turns (A B C A B C ...) and are compared
within a round. A median of such ratios holds where absolute times do not.
"""

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """The wall times of one candidate, in the order of the rounds."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def minimum(self) -> float:
        return min(self.seconds)

    def ratio_of_medians(self, base: "Timing") -> float:
        """How many times longer than `base` this takes."""
        return self.median / base.median

    def ratios(self, base: "Timing") -> tuple[float, ...]:
        """Compare each round with itself: what slows a whole round down cancels out."""
        return tuple(own / other for own, other in zip(self.seconds, base.seconds, strict=True))

    def median_ratio(self, base: "Timing") -> float:
        return statistics.median(self.ratios(base))


def time_side_by_side(
    candidates: Mapping[str, Callable[[], object]], rounds: int, *, warm_ups: int = 1, settling_calls: int = 0
) -> dict[str, Timing]:
    """Time one call of every candidate in each round.

    The warm-up rounds (compilation, thread pools) are not counted. Nor are the settling calls at the beginning of each
    turn: what takes milliseconds would else pay for the caches and the freed memory that the candidate before it left.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, not {rounds}")
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    collects = gc.isenabled()
    gc.collect()
    gc.disable()  # else a collection lands in whichever candidate happens to allocate
    try:
        for number in range(-warm_ups, rounds):
            for name, candidate in candidates.items():
                for _ in range(settling_calls):
                    candidate()
                started = time.perf_counter()
                candidate()
                if number >= 0:
                    seconds[name].append(time.perf_counter() - started)
    finally:
        if collects:
            gc.enable()
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def describe(timings: Mapping[str, Timing], base: str) -> str:
    """List every figure of every candidate, one a line."""
    lines = []
    for name, timing in timings.items():
        ratios = f"{timing.ratio_of_medians(timings[base]):.2f} of medians, {timing.median_ratio(timings[base]):.2f}"
        lines.append(
            f"  {name}: median {milliseconds(timing.median)}, minimum {milliseconds(timing.minimum)}, "
            f"ratio to {base} {ratios} pairwise"
        )
    return "\n".join(lines)


def noise(values: Sequence[float]) -> float:
    """Half the width of a 95 % interval of the median (McGill, Tukey and Larsen 1978: 1.57 IQR / sqrt(n))."""
    if len(values) < 2:
        return math.inf
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return 1.57 * (high - low) / math.sqrt(len(values))


def milliseconds(seconds: float) -> str:
    """Three digits are more than the noise leaves."""
    value = 1000 * seconds
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"
