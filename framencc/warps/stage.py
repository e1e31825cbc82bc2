"""The warp stage of a run: estimate or fall back, then sample the frame where the reference's pixels come from."""

import contextlib
import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from framencc.errors import SpecError, WarpError
from framencc.frames import CodeRange, Frame, Picture
from framencc.kernels.launch import default_threads
from framencc.sampling import Sampler, fixed_point_gain
from framencc.spec.warp import WarpSpec
from framencc.warps.base import LOST, Field, Warp, WarpMethod, displacements

logger = logging.getLogger(__name__)

Codes = npt.NDArray[np.uint8]
CHECK_FAILED = np.uint8(7)


@dataclass(frozen=True, slots=True)
class Warped:
    """A frame on the reference's pixel grid.

    Parameters
    ----------
    planes
        (C, H, W): of an integer frame uint16, its codes times the stage's gain; of a float frame float32.
    codes
        (H, W) uint8 validity codes of pixels that have no value (3, 4 or 7), 0 elsewhere; None where all have one.
    transform
        By what it was sampled: an (H, W, 2) float32 field, or a (3, 3) float64 matrix.
    threads
        Threads to use for `field`.
    """

    planes: Picture
    codes: Codes | None
    transform: npt.NDArray[Any]
    threads: int = 1

    @property
    def field(self) -> Field:
        """The (H, W, 2) displacements by which it was sampled; of a matrix they are computed at each call."""
        return displacements(self.transform, self.planes.shape[1:], self.threads)


class WarpStage:
    """Brings frame after frame onto the reference.

    A chain of frames begins at every frame whose number is a multiple of `spec.chain_length`. Inside it a warp may look
    at the last one that was found, at nothing further back; so results are the same wherever a run begins, provided
    that it reads the chain from its beginning. What serves where no warp is found leads to no other warp, so
    `spec.on_failure` changes nothing of the frames that have one.

    Parameters
    ----------
    spec
        The options.
    method
        How warps are found.
    code_range
        Which codes of the frames are black and white; None for floats.
    threads
        Threads of the sampling kernel; all cores if omitted.
    """

    def __init__(
        self, spec: WarpSpec, method: WarpMethod, *, code_range: CodeRange | None, threads: int | None
    ) -> None:
        depth = None if code_range is None else max(8, code_range.depth)
        self.gain = 1 if depth is None else fixed_point_gain(np.uint16, depth)
        self._code_range = code_range
        self._spec = spec
        self._method = method
        self._threads = threads
        self._n_threads = threads or default_threads()
        self._sampler = Sampler(spec.interpolation, bits=depth, threads=self._n_threads)
        self._previous: Warp | None = None
        self._previous_index = -1

    def estimate(self, frame: Frame) -> Warp:
        """Find the warp of the next frame; its report tells how it was found, or why it was not.

        Raises
        ------
        WarpError
            When there is none and `warp.on_failure` is ``fail``.
        SourceError
            See `WarpMethod.estimate`.
        """
        return self.begin(frame).complete()

    def begin(self, frame: Frame) -> Warp:
        """Find of the next frame's warp what the warp after it may begin with; the rest is found by `Warp.complete`.

        Frames go through here in their order. Warps are completed in the same order, by another thread if that helps.
        Raises what `estimate` raises, as does `Warp.complete`.
        """
        continues = frame.index == self._previous_index + 1 and frame.index % self._spec.chain_length != 0
        previous = self._previous if continues else None
        try:
            found = self._method.estimate(frame, previous if self._spec.warm_start else None)
        except WarpError as error:
            warp = self._fall_back(frame, previous, error)
            self._previous = previous
        else:
            warp = replace(found, rest=lambda: self._complete(frame, found, previous))
            self._previous = replace(found, rest=None)
        self._previous_index = frame.index
        return warp

    def _complete(self, frame: Frame, found: Warp, previous: Warp | None) -> Warp:
        try:
            warp = found.complete()
        except WarpError as error:
            return self._fall_back(frame, previous, error)
        return replace(warp, report={"status": "estimated", **warp.report}, rest=None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the warps although they can be used; complete after `finish`."""
        return self._method.warnings

    def limited(self) -> contextlib.AbstractContextManager[None]:
        """Keep every library to the stage's number of threads inside a ``with`` block."""
        return self._method.limited(self._threads)

    def apply(self, frame: Frame, warp: Warp, out: Picture | None = None) -> Warped:
        """Sample the frame, into `out` if given.

        Raises
        ------
        SpecError
            When it holds codes that would not fit 16 bits, because it has more significant bits than was said.
        """
        planes = frame.data if frame.data.ndim == 3 else frame.data[np.newaxis]
        self._require_room(frame)
        sampled, codes = self._sampler.sample(planes, warp.transform, use=frame.use, out=out)
        if self._spec.forward_backward == "check" and warp.forward_backward is not None:
            failed = (warp.forward_backward > self._spec.forward_backward_limit) & (codes == 0)
            np.copyto(codes, CHECK_FAILED, where=failed)
        return Warped(sampled, codes if codes.any() else None, warp.transform, self._n_threads)

    def _require_room(self, frame: Frame) -> None:
        if self.gain == 1 or frame.data.dtype != np.uint16 or self._code_range is None:
            return
        largest = int(frame.data.max())
        if largest * self.gain > np.iinfo(np.uint16).max:
            raise SpecError(
                f"frame {frame.index} holds code {largest}, too large for the {self._code_range.bits} significant bits "
                f"that the input has ({self._code_range.bits_from}); set input_bits = {max(8, largest.bit_length())}"
            )

    def distance(self, warp: Warp) -> Field | None:
        """Return the forward-backward distance that weighs the map, (H, W) in pixels; None where nothing does."""
        return warp.forward_backward if self._spec.forward_backward == "weight" else None

    def finish(self, n_frames: int) -> None:
        """Look back when the whole input has been read; see `WarpMethod.finish`."""
        self._method.finish(n_frames)

    def _fall_back(self, frame: Frame, previous: Warp | None, error: WarpError) -> Warp:
        """Return what `warp.on_failure` puts in the place of a warp; of none of it a distance has been measured."""
        problem = f"frame {frame.index}: {error}"
        policy = self._spec.on_failure
        if policy == "fail" and frame.wanted:  # others only lead to one that is, and are no part of the result
            raise WarpError(f"{problem}; warp.on_failure = invalid marks such frames and continues") from None
        logger.info(problem)
        report = {"status": "invalid", "problem": str(error)}
        if policy in ("invalid", "fail"):
            return Warp(report=report, found=False)
        distance = None
        if self._spec.forward_backward != "off":
            distance = np.full(frame.data.shape[-2:], LOST, np.float32)
        if policy == "previous" and previous is not None:
            return replace(previous, forward_backward=distance, report=report | {"status": "previous"})
        return Warp(forward_backward=distance, report=report | {"status": "identity"})
