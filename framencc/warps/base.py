"""The contract that every warp method keeps; tests/contracts/test_warps.py runs over all of them."""

import contextlib
import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.frames import Frame, frozen
from framencc.kernels import displacement
from framencc.kernels.launch import count_bands, launch

Matrix = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]

LOST = displacement.LOST
"""The forward-backward distance of a pixel of which none is known: it fails every check, and weighs nothing."""


@dataclass(frozen=True, slots=True)
class Warp:
    """How one frame is brought onto the reference's pixel grid: by a matrix, by a field, or not at all.

    Pull convention, pixel centres at integers: warped(x, y) = frame(x + dx, y + dy).

    Parameters
    ----------
    matrix
        (3, 3) float64, reference pixel (x, y, 1) to frame pixel; or None.
    displacement_field
        (H, W, 2) float32, (dx, dy) in pixels, NaN where there is none; or None.
    forward_backward
        (H, W) float32 distance in pixels between a pixel and where the way to the frame and back ends, `LOST` where it
        has not been measured; or None.
    report
        What the sidecar says of it, JSON-ready.
    found
        False where there is no warp and nothing takes its place: the frame is not sampled, and nothing of it measured.
    rest
        Returns this warp with its distance and its report, which the next frame's warp does not wait for; None where
        nothing is missing.
    """

    matrix: Matrix | None = None
    displacement_field: Field | None = None
    forward_backward: Field | None = None
    report: dict[str, Any] = dataclasses.field(default_factory=dict)
    found: bool = True
    rest: "Callable[[], Warp] | None" = None

    def complete(self) -> "Warp":
        """Return the warp with nothing missing."""
        return self if self.rest is None else self.rest()

    @property
    def transform(self) -> npt.NDArray[Any]:
        """What frames are sampled by: the (H, W, 2) float32 field, or else the (3, 3) float64 matrix."""
        if self.displacement_field is not None:
            return self.displacement_field
        return np.eye(3) if self.matrix is None else self.matrix

    def field(self, shape: tuple[int, int], threads: int = 1) -> Field:
        """Return the (H, W, 2) displacements of a picture of this shape."""
        return displacements(self.transform, shape, threads)


def displacements(transform: npt.NDArray[Any], shape: tuple[int, int], threads: int) -> Field:
    """Return what a field or a matrix means for a picture of this shape, (H, W, 2) float32.

    Sampling by a matrix gives the same bits as by these, so a run whose fields were written can be repeated from them.
    """
    if transform.ndim == 3:
        return transform
    field: Field = np.empty((*shape, 2), np.float32)
    launch(displacement.matrix_field, threads, frozen(transform), *shape, field.reshape(-1))
    return field


def field_statistics(
    field: Field,
    threads: int,
    distance: Field | None = None,
    limit: float = math.inf,
    *,
    backward: Field | None = None,
    scale: tuple[float, float] = (1.0, 1.0),
    beyond: float = math.inf,
) -> dict[str, float | None]:
    """Describe a field and, if it is given, its forward-backward distance, which is found on the way if it has to be.

    Parameters
    ----------
    field
        (H, W, 2) displacements in pixels, NaN where there is none.
    threads
        Threads to use.
    distance
        (H, W) float32 in pixels, 0 or more, `LOST` or NaN, which does not count.
    limit
        The largest distance that passes the check.
    backward
        (H, W, 2) flow back, at least 2 x 2: `distance`, C-contiguous, gets |f(x) + b(x + f(x))|. None: it is known.
    scale
        What the distance's x and y are divided by.
    beyond
        `LOST`, the distance where x + f(x) has left the picture. Or less than 0: there it is minus the length.

    Returns
    -------
    dict
        The mean and the largest displacement, and the share of pixels that have one. Of a distance its median, None
        where it is `LOST`, and the share of pixels that fail the check. The median comes from a histogram: it is off by
        at most 1/1024 of itself, or by 1/1024 pixel below one pixel.
    """
    height, width, _ = field.shape
    rows = totals, largest, n_known = np.empty(height), np.empty(height, np.int64), np.empty(height, np.int64)
    counts = np.zeros((count_bands(height, threads, smallest=128), displacement.N_COUNTS), np.int32)
    launch(
        displacement.describe,
        threads,
        len(counts),
        frozen(field).reshape(-1),
        None if backward is None else frozen(backward).reshape(-1),
        (np.float32(scale[0]), np.float32(scale[1])),
        np.float32(beyond),
        np.float32(limit).view(np.int32),  # floats that are not negative are ordered like integers of the same bits
        (height, width),
        np.empty(0, np.float32) if distance is None else np.require(distance, np.float32, ["C", "W"]).reshape(-1),
        rows,
        counts,
    )
    share = int(n_known.sum()) / (height * width)
    statistics: dict[str, float | None] = {
        "mean_displacement": float(totals.sum()) / max(1, int(n_known.sum())),
        "largest_displacement": math.sqrt(largest.view(np.float64).max()),
        "share_known": share,
    }
    if distance is not None:
        total = counts.sum(axis=0, dtype=np.int64)
        n_distances = int(total[: displacement.BEYOND + 1].sum())
        statistics["median_forward_backward"] = _median(total[: displacement.BEYOND + 1])
        statistics["share_failing_check"] = int(total[displacement.FAILING]) / max(1, n_distances)
    return statistics


def _median(counts: npt.NDArray[np.int64]) -> float | None:
    """Return the median of the distances in these bins, None where it lies beyond them all."""
    ends = np.cumsum(counts)
    middle = []
    for rank in ((int(ends[-1]) - 1) // 2, int(ends[-1]) // 2):
        place = int(np.searchsorted(ends, rank, side="right"))
        if place >= displacement.BEYOND:
            return None
        edges = (np.arange(place, place + 2) + displacement.FIRST_BIN) << displacement.BIN_BITS
        low, high = edges.astype(np.int32).view(np.float32).tolist()
        within = (rank - (int(ends[place]) - int(counts[place])) + 0.5) / int(counts[place])
        middle.append((low if place else 0.0) + within * (high - (low if place else 0.0)))
    return float(sum(middle) / 2)


class WarpMethod(ABC):
    """Finds the warp of each frame; made once per run, fed with frames in order.

    `previous` is the last warp that was found in the frame's chain, or None where a chain starts anew: a method that
    looks at it must look at nothing else of the past, so that results do not depend on where a run began.
    """

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the warps although they can be used; complete after `finish`."""
        return ()

    def limited(self, threads: int | None) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002
        """Keep the libraries that the method calls to so many threads in a ``with`` block; None: to those set."""
        return contextlib.nullcontext()

    def finish(self, n_frames: int) -> None:  # noqa: B027  (most methods have nothing to look at)
        """Look back when the whole input has been read, all its `n_frames` frames; `warnings` are complete then."""

    @abstractmethod
    def estimate(self, frame: Frame, previous: Warp | None) -> Warp:
        """Find the warp that brings a frame onto the reference; what can wait is left to its `Warp.rest`.

        Raises
        ------
        WarpError
            When this frame has none; the run goes on by the policy of `warp.on_failure`.
        SourceError
            When a precomputed warp is missing, wrong or damaged, which ends the run, or with `spec.tolerant` makes its
            frame a damaged one.
        """
