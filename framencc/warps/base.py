"""The contract that every warp method keeps; tests/contracts/test_warps.py runs over all of them."""

import contextlib
import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.frames import Frame, frozen
from framencc.kernels.displacement import length_rows, matrix_field_rows
from framencc.kernels.threads import share_rows

Matrix = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]

LOST = np.float32(np.inf)
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
    """

    matrix: Matrix | None = None
    displacement_field: Field | None = None
    forward_backward: Field | None = None
    report: dict[str, Any] = dataclasses.field(default_factory=dict)
    found: bool = True

    def field(self, shape: tuple[int, int], threads: int = 1) -> Field:
        """Return the (H, W, 2) displacements of a picture of this shape: frames are sampled by these and nothing else.

        So a run whose fields were written can be repeated from them, to the same bytes.
        """
        if self.displacement_field is not None:
            return self.displacement_field
        matrix = np.eye(3) if self.matrix is None else self.matrix
        field: Field = np.empty((*shape, 2), np.float32)
        share_rows(lambda y0, y1: matrix_field_rows(matrix, y0, y1, field), shape[0], threads)
        return field


def field_statistics(field: Field, threads: int) -> dict[str, float]:
    """Return the mean and the largest displacement of a field in pixels, and the share of pixels that have one."""
    height, width, _ = field.shape
    totals, largest, counts = np.empty(height), np.empty(height), np.empty(height, np.int64)
    rows = frozen(field).reshape(height, 2 * width)
    share_rows(lambda y0, y1: length_rows(rows, y0, y1, totals, largest, counts), height, threads)
    n_known = int(counts.sum())
    return {
        "mean_displacement": float(totals.sum()) / max(1, n_known),
        "largest_displacement": float(largest.max()),
        "share_known": n_known / (height * width),
    }


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
        """Find the warp that brings a frame onto the reference.

        Raises
        ------
        WarpError
            When this frame has none; the run goes on by the policy of `warp.on_failure`.
        SourceError
            When a precomputed warp is missing, wrong or damaged, which ends the run, or with `spec.tolerant` makes its
            frame a damaged one.
        """
